"""The offline moderation classifier: a linear SVM over words that the package `alt-profanity-check`
carries."""

from collections.abc import Sequence

from little_monster.platform.engines.protocols import ModerationResult

CATEGORY = "profanity"


class ProfanityClassifier:
    """Scores texts in the one category `profanity`, as a probability.

    Args:
        threshold: score from 0 to 1 at which a text is flagged.
    """

    def __init__(self, threshold: float = 0.9) -> None:
        from profanity_check import predict_prob

        self._predict = predict_prob
        self._threshold = threshold

    def classify(self, texts: Sequence[str]) -> list[ModerationResult]:
        """Return one result a text, in order. Blocks, well under a millisecond a text."""
        return [self._result(float(score)) for score in self._predict(list(texts))] if texts else []

    def _result(self, score: float) -> ModerationResult:
        flagged = score >= self._threshold
        return ModerationResult(flagged, {CATEGORY: score}, (CATEGORY,) if flagged else ())

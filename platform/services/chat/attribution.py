"""Which exact words of which passage support a sentence of the answer.

Support is lexical: the share of the sentence's content words that a sentence of a passage has, where a word
weighs log(1 + N / n), with N sentences in all passages and n of them, at least 1, with the word. So a small
model, which writes no citations or wrong ones, is cited right, and a sentence that nothing supports is not
cited. Numbers of a sentence must stand in its quote. A heading is quoted only where nothing else supports it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from little_monster.platform.engines.protocols import Passage
from little_monster.platform.services.chat.events import Citation
from little_monster.platform.services.chat.sentences import is_heading, sentence_spans
from little_monster.platform.services.chat.words import content_words, numbers

SUPPORTED = 0.5
"""Share of a sentence's weight that its quote must have."""
SUPPORTED_WHERE_MARKED = 0.15
"""The same where the model itself names the passage."""
WORTH_A_LONGER_QUOTE = 0.15
"""How much more two neighbouring sentences must support than the better one of them."""
FEWEST_WORDS = 2

_MARKER = re.compile(r"[\[【](\d{1,3}(?:\s*[,;]\s*\d{1,3})*)(?:†[^\]】]*)?[\]】]")
_LIST_NUMBER = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•#]+)\s+")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """`passage.content[start:end]`, one sentence or two neighbours (`long`); `body`: no heading is in it."""

    number: int
    passage: Passage
    start: int
    end: int
    words: frozenset[str]
    numbers: frozenset[str]
    body: bool
    long: bool


class Attributor:
    """Cites sentences of one answer.

    Args:
        passages: what the model was given; the first is number 1. `content` is `[start:end]` of its
        document's
            text, so that offsets of quotes are exact.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._candidates = [
            one for number, passage in enumerate(passages, 1) for one in _candidates(number, passage)
        ]
        singles = [one for one in self._candidates if not one.long]
        self._sentences = len(singles)
        self._frequency = Counter(word for one in singles for word in one.words)

    def cite(self, sentence: str, start: int, end: int) -> list[Citation]:
        """Return the citations of a sentence that is `answer[start:end]`.

        One for each passage that the model marked and that has some of it, else the best of all passages,
        else none.
        """
        bare = _LIST_NUMBER.sub("", _MARKER.sub(" ", sentence))
        words, figures = content_words(bare), numbers(bare)
        if not self._candidates or len(words) < FEWEST_WORDS:
            return []
        weights = {word: self._weight(word) for word in words}
        found = [self._best(weights, figures, SUPPORTED_WHERE_MARKED, one) for one in _marked(sentence)]
        if not any(found):
            found = [self._best(weights, figures, SUPPORTED, None)]
        return [_citation(one, start, end) for one in found if one is not None]

    def _best(
        self, weights: Mapping[str, float], figures: frozenset[str], threshold: float, number: int | None
    ) -> _Candidate | None:
        """Return what supports the words best, in passage `number` or in all, if that is enough."""
        total, words = sum(weights.values()), frozenset(weights)
        fewest = FEWEST_WORDS if number is None else 1
        best, best_rank = None, (False, -1.0)
        for one in self._candidates:
            if (number is not None and one.number != number) or not figures <= one.numbers:
                continue
            shared = words & one.words
            support = sum(weights[word] for word in shared) / total
            rank = one.body, support - (WORTH_A_LONGER_QUOTE if one.long else 0)
            if support >= threshold and len(shared) >= fewest and rank > best_rank:
                best, best_rank = one, rank
        return best

    def _weight(self, word: str) -> float:
        return math.log1p(self._sentences / max(self._frequency[word], 1))


def _candidates(number: int, passage: Passage) -> Iterator[_Candidate]:
    spans = sentence_spans(passage.content)
    headings = {edge for span in spans if is_heading(passage.content, span[0]) for edge in span}
    pairs = [(left[0], right[1]) for left, right in pairwise(spans)]
    for long, those in ((False, spans), (True, pairs)):
        for start, end in those:
            quote, body = passage.content[start:end], headings.isdisjoint((start, end))
            yield _Candidate(number, passage, start, end, content_words(quote), numbers(quote), body, long)


def _marked(sentence: str) -> list[int]:
    """Return the passages that the model names, each once."""
    found = [int(one) for marker in _MARKER.findall(sentence) for one in re.split(r"\s*[,;]\s*", marker)]
    return list(dict.fromkeys(found))


def _citation(one: _Candidate, answer_start: int, answer_end: int) -> Citation:
    passage = one.passage
    return Citation(
        number=one.number,
        document_id=passage.document_id,
        title=passage.document_title,
        page=passage.page,
        quote=passage.content[one.start : one.end],
        start=passage.start + one.start,
        end=passage.start + one.end,
        answer_start=answer_start,
        answer_end=answer_end,
    )

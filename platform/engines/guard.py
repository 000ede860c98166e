"""Moderation by a chat model that was trained for it, asked as Llama Guard is.

It answers `safe`, or `unsafe` and on the next line the categories (`S1,S10`) of the MLCommons taxonomy:
https://www.llama.com/docs/model-cards-and-prompt-formats/llama-guard-3/
"""

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Any, Final

from little_monster.platform.engines.protocols import ChatModel, ChatRequest, ModerationResult
from little_monster.platform.errors import EngineFailed

CATEGORIES: Final = {
    "S1": "violent_crimes",
    "S2": "non_violent_crimes",
    "S3": "sex_related_crimes",
    "S4": "child_sexual_exploitation",
    "S5": "defamation",
    "S6": "specialized_advice",
    "S7": "privacy",
    "S8": "intellectual_property",
    "S9": "indiscriminate_weapons",
    "S10": "hate",
    "S11": "suicide_and_self_harm",
    "S12": "sexual_content",
    "S13": "elections",
    "S14": "code_interpreter_abuse",
}
MAX_TOKENS: Final = 32
REQUEST_ID: Final = "moderation"

_VERDICT = re.compile(r"\s*(safe|unsafe)\b(.*)", re.DOTALL | re.IGNORECASE)
_CATEGORY = re.compile(r"S\d{1,2}")


class GuardModerator:
    """A `Moderator` over a guard model.

    A category that the model names scores the probability of its `unsafe` where the engine returns
    log-probabilities, else 1; the others score 0.

    Args:
        chat_model: serves the guard model.
        model: its name there.
    """

    def __init__(self, chat_model: ChatModel, model: str) -> None:
        self._chat_model, self._model = chat_model, model

    async def classify(self, texts: Sequence[str]) -> list[ModerationResult]:
        """Return one result a text, in order.

        Raises:
            EngineFailed: the model failed, or its answer is no verdict: it is not a guard model.
        """
        return list(await asyncio.gather(*map(self._classify, texts)))

    async def check(self) -> None:
        """Return when the model can answer; raise `Unavailable` when not."""
        await self._chat_model.check()

    async def _classify(self, text: str) -> ModerationResult:
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 1,
        }
        completion = await self._chat_model.complete(ChatRequest(self._model, body, REQUEST_ID))
        return read_verdict(completion)


def read_verdict(completion: dict[str, Any]) -> ModerationResult:
    """Return what a guard model's `chat.completion` says.

    Raises:
        EngineFailed: it is no verdict.
    """
    choice = (completion.get("choices") or [{}])[0]
    verdict = _VERDICT.match((choice.get("message") or {}).get("content") or "")
    if verdict is None:
        raise EngineFailed("The guard model gave no verdict.")
    scores = dict.fromkeys(CATEGORIES.values(), 0.0)
    if verdict[1].lower() == "safe":
        return ModerationResult(False, scores)
    named = tuple(dict.fromkeys(CATEGORIES.get(code, code) for code in _CATEGORY.findall(verdict[2])))
    named = named or ("unsafe",)
    scores.update(dict.fromkeys(named, _certainty(choice)))
    return ModerationResult(True, scores, named)


def _certainty(choice: dict[str, Any]) -> float:
    """Return the probability of the token that says `unsafe`, 1 where the engine does not tell."""
    for token in (choice.get("logprobs") or {}).get("content") or ():
        if token["token"].strip().lower().startswith("un"):
            return min(math.exp(token["logprob"]), 1.0)
    return 1.0

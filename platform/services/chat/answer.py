"""An answer while it is written: its text, its citations, what it cost."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from little_monster.platform.engines.protocols import Passage
from little_monster.platform.metrics import TIME_TO_FIRST_TOKEN, TOKENS
from little_monster.platform.services.chat.attribution import Attributor
from little_monster.platform.services.chat.events import Citation, Delta, Source, UsageCounted
from little_monster.platform.services.chat.frames import read_chunks
from little_monster.platform.services.chat.prompt import Prompt, estimate_tokens
from little_monster.platform.services.chat.sentences import SentenceReader


class Answer:
    """Reads a chat model's frames into events and remembers what is to be stored.

    Args:
        prompt: what the model was asked.
        model: label of the metrics.
        asked_at: `time.perf_counter()` when the question arrived.
    """

    def __init__(self, prompt: Prompt, *, model: str, asked_at: float) -> None:
        self._prompt, self._model, self._asked_at = prompt, model, asked_at
        self._attributor = Attributor(prompt.passages)
        self._sentences = SentenceReader()
        self._parts: list[str] = []
        self._usage: dict[str, Any] = {}
        self._first_text_ms: float | None = None
        self.sources = number_sources(prompt.passages)
        self.citations: list[Citation] = []
        self.finish_reason = "stop"

    def read(self, frames: str) -> Iterator[Delta | Citation]:
        """Yield the text of some frames and the citations of the sentences that it finishes.

        Raises:
            EngineFailed: a frame is an error.
        """
        for chunk in read_chunks(frames):
            self._usage = chunk.get("usage") or self._usage
            for choice in chunk.get("choices", ()):
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
                text = (choice.get("delta") or {}).get("content")
                if text:
                    yield from self._add(text.replace("\x00", ""))

    def finish(self) -> Iterator[Citation]:
        """Yield the citations of the last sentence."""
        yield from self._cite(self._sentences.finish())

    def usage(self) -> UsageCounted:
        """Return the tokens as the engine counted them, estimated where it did not."""
        prompt, completion = self._usage.get("prompt_tokens"), self._usage.get("completion_tokens")
        if prompt is None:
            prompt = sum(estimate_tokens(message["content"]) for message in self._prompt.messages)
        if completion is None:
            completion = estimate_tokens(self.text) if self._parts else 0
        return UsageCounted(prompt, completion, prompt + completion, self._first_text_ms)

    def count(self) -> None:
        """Add the tokens to the metrics."""
        usage = self.usage()
        TOKENS.labels(self._model, "prompt").inc(usage.prompt_tokens)
        TOKENS.labels(self._model, "completion").inc(usage.completion_tokens)

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the sources with their citations, as JSON that outlives the documents."""
        return [_snapshot(source, self.citations) for source in self.sources]

    def _add(self, text: str) -> Iterator[Delta | Citation]:
        if self._first_text_ms is None:
            seconds = time.perf_counter() - self._asked_at
            self._first_text_ms = round(seconds * 1000, 1)
            TIME_TO_FIRST_TOKEN.labels(self._model).observe(seconds)
        self._parts.append(text)
        yield Delta(text)
        yield from self._cite(self._sentences.feed(text))

    def _cite(self, sentences: Iterator[tuple[int, int, str]]) -> Iterator[Citation]:
        for start, end, sentence in sentences:
            found = self._attributor.cite(sentence, start, end)
            self.citations += found
            yield from found


def number_sources(passages: Sequence[Passage]) -> tuple[Source, ...]:
    """Return the passages as clients see them, numbered from 1."""
    return tuple(
        Source(
            number=number,
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            title=passage.document_title,
            page=passage.page,
            headings=passage.headings,
            content=passage.content,
            score=passage.score,
        )
        for number, passage in enumerate(passages, 1)
    )


def _snapshot(source: Source, citations: Sequence[Citation]) -> dict[str, Any]:
    return {
        "number": source.number,
        "chunk_id": str(source.chunk_id),
        "document_id": str(source.document_id),
        "title": source.title,
        "page": source.page,
        "headings": list(source.headings),
        "content": source.content,
        "score": source.score,
        "citations": [_cited(one) for one in citations if one.number == source.number],
    }


def _cited(citation: Citation) -> dict[str, Any]:
    names = ("quote", "start", "end", "answer_start", "answer_end")
    return {name: getattr(citation, name) for name in names}

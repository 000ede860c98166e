"""File to chunks: what one process does with one document, and the small values that cross to it and back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from little_monster.pipelines.stages.chunk import Chunk, chunk
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.tokens import chunk_size, load_counter


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A file to read. `model_source` and `max_tokens` are those of `EmbedderInfo`."""

    content: bytes
    file_type: str
    max_pages: int
    model_source: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """What was read; the fields mean what they mean in `ParsedDocument`."""

    chunks: tuple[Chunk, ...]
    title: str | None
    author: str | None
    page_count: int | None
    textless_pages: tuple[int, ...]
    characters: int
    report: dict[str, Any]


Reader = Callable[[ReadRequest], Awaitable[ReadDocument]]
"""Reads a document somewhere. Raises `ReadFailure` for good, anything else when it may work another time."""


def read(request: ReadRequest) -> ReadDocument:
    """Read a document in this process. Blocks.

    Raises:
        ReadFailure: it cannot be read; the codes are those of `parse`.
        ConfigurationError: the tokenizer of the embedding model is missing.
    """
    document = parse(request.content, request.file_type, max_pages=request.max_pages)
    chunks = chunk(document, load_counter(request.model_source), chunk_size(request.max_tokens))
    return ReadDocument(
        chunks=tuple(chunks),
        title=document.title,
        author=document.author,
        page_count=document.page_count,
        textless_pages=document.textless_pages,
        characters=len(document.text),
        report={},
    )

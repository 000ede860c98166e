"""File to chunks: what one process does with one document, and the small values that cross to it and back.

The file itself is looked at by another process, which can do nothing else; this one cuts what that one says.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from little_monster.pipelines.sandbox.client import shared_sandbox
from little_monster.pipelines.stages.chunk import Chunk, chunk
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
    """What was read; the fields mean what they mean in `ParsedDocument`, `report` is its `LossReport`."""

    chunks: tuple[Chunk, ...]
    title: str | None
    author: str | None
    page_count: int | None
    textless_pages: tuple[int, ...]
    characters: int
    report: dict[str, Any]
    date: str | None = None


Reader = Callable[[ReadRequest], Awaitable[ReadDocument]]
"""Reads a document somewhere. Raises `ReadFailure` for good, anything else when it may work another time."""


def read(request: ReadRequest) -> ReadDocument:
    """Read a document, its file in a confined process. Blocks.

    Raises:
        ReadFailure: it cannot be read; the codes are those of `Sandbox.parse`.
        SandboxBroken: the process that reads files did not start, or was ended from outside.
        ConfigurationError: the tokenizer of the embedding model is missing.
    """
    document = shared_sandbox().parse(request.content, request.file_type, max_pages=request.max_pages)
    chunks = chunk(document, load_counter(request.model_source), chunk_size(request.max_tokens))
    return ReadDocument(
        chunks=tuple(chunks),
        title=document.title,
        author=document.author,
        page_count=document.page_count,
        textless_pages=document.textless_pages,
        characters=len(document.text),
        report=asdict(document.report),
        date=document.date,
    )

"""File to chunks: what one process does with one document, and the small values that cross to it and back.

The file itself is looked at by another process, which can do nothing else; this one cuts what that one says.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from little_monster.pipelines.sandbox.client import shared_sandbox
from little_monster.pipelines.stages import ocr
from little_monster.pipelines.stages.chunk import Chunk, chunk
from little_monster.pipelines.stages.document import ParsedDocument
from little_monster.pipelines.stages.tokens import chunk_size, load_counter
from little_monster.platform.errors import ReadFailure


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
    document = _parse(request)
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


def _parse(request: ReadRequest) -> ParsedDocument:
    """Parse a file; what it shows without text is recognised where that is installed."""
    sandbox = shared_sandbox()
    try:
        document = sandbox.parse(request.content, request.file_type, max_pages=request.max_pages)
        if not document.report.needs_ocr or not _can_recognise(request):
            return document
    except ReadFailure as failure:
        if failure.code != "no_text" or not _can_recognise(request):
            raise
    return sandbox.parse(request.content, ocr.FILE_TYPE, max_pages=request.max_pages)


def _can_recognise(request: ReadRequest) -> bool:
    return request.file_type == "pdf" and ocr.is_installed()

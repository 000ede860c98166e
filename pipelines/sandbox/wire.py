"""What a child says of its file, as JSON: the document, or why there is none. Who reads it trusts nothing."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

import orjson

from little_monster.pipelines.stages.document import ParsedDocument
from little_monster.platform.errors import LittleMonsterError, ReadFailure

_DOCUMENT, _FAILURE, _ERROR = b"D", b"F", b"E"
_MAX_ERROR_CHARS = 4_000


class Malformed(LittleMonsterError):
    """An answer is not what a parser says."""


class ParserError(LittleMonsterError):
    """The parser raised what it should not have; the message is its traceback."""


class _Span(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


def document_answer(document: ParsedDocument) -> bytes:
    """Return the answer of a child that read its file."""
    return _DOCUMENT + orjson.dumps(document, default=tuple)


def failure_answer(failure: ReadFailure) -> bytes:
    """Return the answer of a child whose file cannot be read."""
    return _FAILURE + orjson.dumps([failure.code, failure.reason])


def error_answer(traceback: str) -> bytes:
    """Return the answer of a child whose parser failed."""
    return _ERROR + traceback[-_MAX_ERROR_CHARS:].encode(errors="replace")


def read_answer(answer: bytes) -> ParsedDocument:
    """Return the document that an answer holds.

    Raises:
        ReadFailure: the file cannot be read.
        ParserError: the parser failed.
        Malformed: it is no such answer.
    """
    kind, body = answer[:1], answer[1:]
    if kind == _DOCUMENT:
        return _document(body)
    if kind == _FAILURE:
        raise _failure(body)
    if kind == _ERROR:
        raise ParserError(body.decode(errors="replace"))
    raise Malformed(f"{len(answer)} bytes")


def _document(body: bytes) -> ParsedDocument:
    try:
        document: ParsedDocument = _adapter().validate_json(body)
    except ValueError as error:
        raise Malformed(str(error)[:_MAX_ERROR_CHARS]) from None
    end = len(document.text)
    if (
        not document.blocks
        or "\x00" in document.text
        or not all(_in_order(spans, end) for spans in (document.blocks, document.pages, document.lines))
    ):
        raise Malformed("what does not stand in the text")
    return document


def _failure(body: bytes) -> ReadFailure:
    try:
        code, reason = orjson.loads(body)
        return ReadFailure(_checked(code, 100), _checked(reason, 1_000))
    except ValueError as error:
        raise Malformed(str(error)) from None


def _checked(value: object, length: int) -> str:
    if not isinstance(value, str) or len(value) > length or "\x00" in value:
        raise ValueError("no short text")
    return value


def _in_order(spans: Sequence[_Span], end: int) -> bool:
    inside = all(0 <= span.start <= span.end <= end for span in spans)
    return inside and all(before.end <= after.start for before, after in pairwise(spans))


@lru_cache(maxsize=1)
def _adapter() -> Any:
    # Only who reads answers needs it, and it is large.
    from pydantic import TypeAdapter

    return TypeAdapter(ParsedDocument)

"""A file in a form (RFC 7578), handed on part by part while it comes in: neither memory nor a disk of ours
holds it."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from little_monster.db.models.user_documents import FileType, Subject
from little_monster.platform.errors import InvalidInput, TooLarge
from little_monster.platform.http.context import context_of
from little_monster.platform.http.schemas.documents import MAX_TITLE_CHARS
from little_monster.platform.services.files import FileInspector

FILE, TITLE, SUBJECT = "file", "title", "subject"
MAX_FIELD_BYTES: Final = 8 * 1024
FORM_SLACK_BYTES: Final = 64 * 1024

# PostgreSQL stores no NUL, and other control characters only confuse who reads a title.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")

FORM_SCHEMA: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FILE],
                "properties": {
                    FILE: {
                        "type": "string",
                        "format": "binary",
                        "description": "PDF, DOCX, PPTX, EPUB, HTML, Markdown or text.",
                    },
                    TITLE: {
                        "type": "string",
                        "maxLength": MAX_TITLE_CHARS,
                        "description": "Empty: the name of the file.",
                    },
                    SUBJECT: {"type": "string", "enum": [one.value for one in Subject]},
                },
            },
            "examples": {
                "notes": {
                    "summary": "Lecture notes",
                    "value": {FILE: "# The cell", TITLE: "Cell biology", SUBJECT: Subject.BIOLOGY.value},
                }
            },
        }
    },
}
"""The body, for the OpenAPI document: FastAPI must not read it itself."""


class FormFile:
    """The one file of a form with its fields, which may come before or after it
    (`services.documents.IncomingFile`)."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._request, self._max_bytes = request, max_bytes
        self._inspector: FileInspector | None = None
        self._filename = ""
        self._fields: dict[str, str] = {}
        self._field_bytes = 0
        self._parts: list[bytes] = []
        self._name = ""
        self._value = bytearray()
        self._header_name = self._header_value = b""
        self._disposition = b""
        self._ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the file.

        Raises:
            TooLarge: `file_too_large`.
            UnsupportedFile: it is none of the types that can be read.
            InvalidInput: no form, no file in it (or two), an empty file, a wrong field.
        """
        parser = self._parser()
        try:
            async for data in self._request.stream():
                for part in self._feed(parser, data):
                    yield part
        except ClientDisconnect:
            raise _malformed("The upload broke off.") from None
        self._finish()
        context_of(self._request).form_digest = self._digest()

    @property
    def file_type(self) -> FileType:
        """What the file is."""
        assert self._inspector is not None
        return self._inspector.file_type

    @property
    def size(self) -> int:
        """Bytes of the file."""
        assert self._inspector is not None
        return self._inspector.size

    @property
    def content_hash(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        assert self._inspector is not None
        return self._inspector.content_hash

    @property
    def title(self) -> str:
        """The field `title`, else the name of the file without its extension."""
        given = _one_line(self._fields.get(TITLE, ""))
        return given or _one_line(PurePosixPath(self._filename).stem)[:MAX_TITLE_CHARS] or "Untitled"

    @property
    def subject(self) -> Subject | None:
        """The field `subject`."""
        value = self._fields.get(SUBJECT)
        return Subject(value) if value else None

    def _digest(self) -> str:
        """Return what the form says, whatever boundary it was sent with."""
        parts = [self.file_type, self.content_hash, self.title, self.subject]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _parser(self) -> MultipartParser:
        declared = self._request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes + FORM_SLACK_BYTES:
            raise TooLarge(f"The file is larger than {self._max_bytes} bytes.", code="file_too_large")
        kind, options = parse_options_header(self._request.headers.get("content-type"))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise _malformed("The body must be multipart/form-data with a boundary.")
        try:
            return MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._read_header_name,
                    "on_header_value": self._read_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._read_content,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise _malformed("The boundary of the form is too long.") from None

    def _feed(self, parser: MultipartParser, data: bytes) -> Iterator[bytes]:
        try:
            parser.write(data)
        except FormParserError:
            raise _malformed("The form cannot be read.") from None
        parts, self._parts = self._parts, []
        for part in parts:
            assert self._inspector is not None
            self._inspector.feed(part)
            yield part

    def _finish(self) -> None:
        if not self._ended:
            raise _malformed("The form ends too early.")
        if self._inspector is None:
            raise _wrong(FILE, "is missing")
        self._inspector.finish()

    def _begin_part(self) -> None:
        self._name, self._disposition = "", b""
        self._value.clear()

    def _read_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _read_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _decoded(options.get(b"name", b""))
        if self._name != FILE:
            return
        if self._inspector is not None:
            raise _wrong(FILE, "only one file a request")
        self._filename = _decoded(options.get(b"filename", b""))
        self._inspector = FileInspector(self._filename, self._max_bytes)

    def _read_content(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._parts.append(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > MAX_FIELD_BYTES:
            raise _wrong(self._name, "is too long")
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self._name in (TITLE, SUBJECT):
            self._fields[self._name] = _checked(self._name, _decoded(bytes(self._value)).strip())

    def _end(self) -> None:
        self._ended = True


def _checked(name: str, value: str) -> str:
    if name == TITLE and len(value) > MAX_TITLE_CHARS:
        raise _wrong(TITLE, f"has more than {MAX_TITLE_CHARS} characters")
    if name == SUBJECT and value and value not in set(Subject):
        raise _wrong(SUBJECT, f"must be one of {', '.join(Subject)}")
    return value


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _malformed(detail: str) -> InvalidInput:
    return InvalidInput(detail, code="malformed_form")


def _wrong(field: str, message: str) -> InvalidInput:
    return InvalidInput(f"`{field}` {message}.", errors=[{"field": f"body.{field}", "message": message}])

"""What a file is, seen while it streams by: its type, size and hash, without ever holding it."""

import codecs
import hashlib
from pathlib import PurePosixPath
from typing import Final

from little_monster.db.models.user_documents import FileType
from little_monster.platform.errors import InvalidInput, TooLarge, UnsupportedFile

HEAD_BYTES: Final = 1024
"""As far as a PDF's header may stand from its beginning (ISO 32000-1, appendix H.3)."""

_EXTENSIONS: Final = {
    ".pdf": FileType.PDF,
    ".docx": FileType.DOCX,
    ".md": FileType.MARKDOWN,
    ".markdown": FileType.MARKDOWN,
    ".txt": FileType.TXT,
    ".text": FileType.TXT,
}
_ZIP: Final = b"PK\x03\x04"
# The main part of a Word document; names stand unpacked in front of each part of a zip.
_WORD_PART: Final = b"word/document"


class FileInspector:
    """Looks at a file part by part and refuses it as soon as it can.

    The extension says what the file claims to be and the content must agree; without an extension the
    content decides.

    Args:
        filename: the name that the client gave.
        max_bytes: the largest size that is accepted.
    """

    def __init__(self, filename: str, max_bytes: int) -> None:
        self._suffix = PurePosixPath(filename).suffix.lower()
        self._max_bytes = max_bytes
        self._head = b""
        self._digest = hashlib.sha256()
        self._type: FileType | None = None
        self._content: _Text | _Word | None = None
        self.size = 0

    def feed(self, part: bytes) -> None:
        """Look at the next part.

        Raises:
            TooLarge: `file_too_large`. UnsupportedFile: `unsupported_file_type`, or `not_a_pdf`,
            `not_a_docx`, `not_text` when it claims to be one.
        """
        self.size += len(part)
        if self.size > self._max_bytes:
            raise TooLarge(f"The file is larger than {self._max_bytes} bytes.", code="file_too_large")
        self._digest.update(part)
        if self._type is not None:
            self._feed_content(part)
            return
        self._head += part
        if len(self._head) >= HEAD_BYTES:
            self._decide()

    def finish(self) -> None:
        """Say that there are no more parts. Raises as `feed`, and InvalidInput (`empty_file`)."""
        if not self.size:
            raise InvalidInput(
                "The file is empty.",
                code="empty_file",
                errors=[{"field": "body.file", "message": "is empty"}],
            )
        if self._type is None:
            self._decide()
        if self._content is not None:
            self._content.finish()

    @property
    def file_type(self) -> FileType:
        """What the file is; known after `finish`."""
        assert self._type is not None, "finish() decides"
        return self._type

    @property
    def content_hash(self) -> str:
        """SHA-256 of all parts so far, in hexadecimal."""
        return self._digest.hexdigest()

    def _decide(self) -> None:
        head, self._head = self._head, b""
        claimed = _EXTENSIONS.get(self._suffix) if self._suffix else _type_of(head)
        if claimed is None:
            raise UnsupportedFile("Only PDF, DOCX, Markdown and plain text can be read.")
        if claimed is FileType.PDF and b"%PDF-" not in head[:HEAD_BYTES]:
            raise UnsupportedFile("The file is named .pdf, but is no PDF.", code="not_a_pdf")
        if claimed is FileType.DOCX:
            self._content = _Word(head)
        elif claimed is not FileType.PDF:
            self._content = _Text(head)
        self._type = claimed
        self._feed_content(head)

    def _feed_content(self, part: bytes) -> None:
        if self._content is not None:
            self._content.feed(part)


class _Word:
    """A zip that must hold a Word document."""

    def __init__(self, head: bytes) -> None:
        if not head.startswith(_ZIP):
            raise _not_a_docx()
        self._tail, self._found = b"", False

    def feed(self, part: bytes) -> None:
        if not self._found:
            window = self._tail + part
            self._found = _WORD_PART in window
            self._tail = window[-len(_WORD_PART) :]

    def finish(self) -> None:
        if not self._found:
            raise _not_a_docx()


class _Text:
    """Text in UTF-8, or in UTF-16 with a byte order mark."""

    def __init__(self, head: bytes) -> None:
        utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        self._decoder = codecs.getincrementaldecoder("utf-16" if utf16 else "utf-8")()

    def feed(self, part: bytes, *, final: bool = False) -> None:
        try:
            text = self._decoder.decode(part, final)
        except UnicodeDecodeError:
            raise _not_text() from None
        if "\x00" in text:
            raise _not_text()

    def finish(self) -> None:
        self.feed(b"", final=True)


def _type_of(head: bytes) -> FileType | None:
    """Guess the type of a file without an extension."""
    if b"%PDF-" in head:
        return FileType.PDF
    return FileType.DOCX if head.startswith(_ZIP) else None


def _not_a_docx() -> UnsupportedFile:
    return UnsupportedFile("The file is named .docx, but is no Word document.", code="not_a_docx")


def _not_text() -> UnsupportedFile:
    return UnsupportedFile("The file is not text in UTF-8 or UTF-16.", code="not_text")

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
    ".html": FileType.HTML,
    ".htm": FileType.HTML,
    ".xhtml": FileType.HTML,
    ".pptx": FileType.PPTX,
    ".epub": FileType.EPUB,
}
_ZIP: Final = b"PK\x03\x04"
# The part that only such a file has; names stand unpacked in front of each part of a zip.
_PARTS: Final = {
    FileType.DOCX: b"word/document",
    FileType.PPTX: b"ppt/presentation",
    FileType.EPUB: b"META-INF/container.xml",
}
_LONGEST_PART: Final = max(len(part) for part in _PARTS.values())
_REFUSALS: Final = {
    FileType.DOCX: ("The file is named .docx, but is no Word document.", "not_a_docx"),
    FileType.PPTX: ("The file is named .pptx, but is no presentation.", "not_a_pptx"),
    FileType.EPUB: ("The file is named .epub, but is no book.", "not_an_epub"),
}


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
        self._content: _Text | _Page | _Archive | None = None
        self._decided = False
        self.size = 0

    def feed(self, part: bytes) -> None:
        """Look at the next part.

        Raises:
            TooLarge: `file_too_large`. UnsupportedFile: `unsupported_file_type`, or `not_a_pdf`,
            `not_a_docx`, `not_a_pptx`, `not_an_epub`, `not_text` when it claims to be one.
        """
        self.size += len(part)
        if self.size > self._max_bytes:
            raise TooLarge(f"The file is larger than {self._max_bytes} bytes.", code="file_too_large")
        self._digest.update(part)
        if self._decided:
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
        if not self._decided:
            self._decide()
        if self._content is not None:
            self._type = self._content.finish()

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
        self._type = _EXTENSIONS.get(self._suffix) if self._suffix else _type_of(head)
        self._content = self._checker(head)
        self._decided = True
        self._feed_content(head)

    def _checker(self, head: bytes) -> "_Text | _Page | _Archive | None":
        claimed = self._type
        if claimed is None and (self._suffix or not head.startswith(_ZIP)):
            raise _unsupported()
        if claimed is FileType.PDF:
            if b"%PDF-" not in head[:HEAD_BYTES]:
                raise UnsupportedFile("The file is named .pdf, but is no PDF.", code="not_a_pdf")
            return None
        if claimed is None or claimed in _PARTS:
            return _Archive(head, claimed)
        return _Page(head) if claimed is FileType.HTML else _Text(head, claimed)

    def _feed_content(self, part: bytes) -> None:
        if self._content is not None:
            self._content.feed(part)


class _Archive:
    """A zip that must hold the part of what it claims to be, or of one of the kinds that can be read."""

    def __init__(self, head: bytes, claimed: FileType | None) -> None:
        self._wanted = dict(_PARTS) if claimed is None else {claimed: _PARTS[claimed]}
        self._claimed, self._tail = claimed, b""
        self._found: FileType | None = None
        if not head.startswith(_ZIP):
            raise self._refusal()

    def feed(self, part: bytes) -> None:
        if self._found is None:
            window = self._tail + part
            places = [(window.find(name), kind) for kind, name in self._wanted.items()]
            # The first one: a book or a document may have others within.
            self._found = min((place for place in places if place[0] >= 0), default=(0, None))[1]
            self._tail = window[-_LONGEST_PART:]

    def finish(self) -> FileType:
        if self._found is None:
            raise self._refusal()
        return self._found

    def _refusal(self) -> UnsupportedFile:
        if self._claimed is None:
            return _unsupported()
        detail, code = _REFUSALS[self._claimed]
        return UnsupportedFile(detail, code=code)


class _Text:
    """Text in UTF-8, or in UTF-16 with a byte order mark."""

    def __init__(self, head: bytes, claimed: FileType) -> None:
        self._claimed = claimed
        self._decoder = codecs.getincrementaldecoder("utf-16" if _is_utf16(head) else "utf-8")()

    def feed(self, part: bytes, *, final: bool = False) -> None:
        try:
            text = self._decoder.decode(part, final)
        except UnicodeDecodeError:
            raise _not_text() from None
        if "\x00" in text:
            raise _not_text()

    def finish(self) -> FileType:
        self.feed(b"", final=True)
        return self._claimed


class _Page:
    """A web page, in whatever encoding it names: no text but UTF-16 has NULs."""

    def __init__(self, head: bytes) -> None:
        self._utf16 = _is_utf16(head)

    def feed(self, part: bytes) -> None:
        if not self._utf16 and b"\x00" in part:
            raise _not_text()

    def finish(self) -> FileType:
        return FileType.HTML


def _is_utf16(head: bytes) -> bool:
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _type_of(head: bytes) -> FileType | None:
    """Guess the type of a file without an extension; of a zip it is seen later."""
    return FileType.PDF if b"%PDF-" in head else None


def _unsupported() -> UnsupportedFile:
    return UnsupportedFile("Only PDF, DOCX, PPTX, EPUB, HTML, Markdown and plain text can be read.")


def _not_text() -> UnsupportedFile:
    return UnsupportedFile("The file is not text in UTF-8 or UTF-16.", code="not_text")

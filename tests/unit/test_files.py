"""What a file is, is decided while it streams by."""

import hashlib
import io
import zipfile

import pytest

from little_monster.db.models.user_documents import FileType
from little_monster.platform.errors import InvalidInput, ProblemError, TooLarge, UnsupportedFile
from little_monster.platform.services.files import FileInspector
from tests.fixtures import documents

PDF = b"%PDF-1.7\n" + b"\x00\xff" * 2000


def docx(part: str = "word/document.xml") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>" * 500)
        archive.writestr(part, "<w:document/>")
    return file.getvalue()


def inspect(name: str, content: bytes, *, size: int = 700, limit: int = 10**6) -> FileInspector:
    inspector = FileInspector(name, limit)
    for at in range(0, len(content), size):
        inspector.feed(content[at : at + size])
    inspector.finish()
    return inspector


@pytest.mark.parametrize("size", [1, 7, 1024, 10**6])
@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.pdf", PDF, FileType.PDF),
        ("a.PDF", b"junk before\n" + PDF, FileType.PDF),
        ("noextension", PDF, FileType.PDF),
        ("a.docx", docx(), FileType.DOCX),
        ("a.md", "# Zellen: 細胞\n".encode() * 300, FileType.MARKDOWN),
        ("a.txt", b"x", FileType.TXT),
        ("a.txt", "Größe".encode("utf-16"), FileType.TXT),
        ("a.markdown", "\ufeff# Title".encode(), FileType.MARKDOWN),
        ("noextension", docx(), FileType.DOCX),
        ("a.pptx", docx("ppt/presentation.xml"), FileType.PPTX),
        ("noextension", docx("ppt/presentation.xml"), FileType.PPTX),
        ("a.epub", documents.epub_file(), FileType.EPUB),
        ("noextension", documents.epub_file(), FileType.EPUB),
        ("a.html", "<p>Größe</p>".encode("latin-1") * 200, FileType.HTML),
        ("a.htm", "<p>Größe</p>".encode("utf-16"), FileType.HTML),
    ],
)
def test_a_good_file(name: str, content: bytes, kind: FileType, size: int) -> None:
    found = inspect(name, content, size=size)
    assert (found.file_type, found.size) == (kind, len(content))
    assert found.content_hash == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize(
    ("name", "content", "error", "code"),
    [
        ("a.pdf", b"", InvalidInput, "empty_file"),
        ("a.pdf", b"hello", UnsupportedFile, "not_a_pdf"),
        ("a.docx", b"hello", UnsupportedFile, "not_a_docx"),
        ("a.docx", docx("xl/workbook.xml"), UnsupportedFile, "not_a_docx"),
        ("a.docx", b"P", UnsupportedFile, "not_a_docx"),
        ("a.docx", docx("ppt/presentation.xml"), UnsupportedFile, "not_a_docx"),
        ("a.pptx", docx(), UnsupportedFile, "not_a_pptx"),
        ("a.epub", docx(), UnsupportedFile, "not_an_epub"),
        ("noextension", docx("xl/workbook.xml"), UnsupportedFile, "unsupported_file_type"),
        ("a.html", PDF, UnsupportedFile, "not_text"),
        ("a.exe", PDF, UnsupportedFile, "unsupported_file_type"),
        ("noextension", b"hello", UnsupportedFile, "unsupported_file_type"),
        ("a.txt", b"\xff\xfe\xfd", UnsupportedFile, "not_text"),
        ("a.txt", b"a\x00b", UnsupportedFile, "not_text"),
        ("a.md", "é".encode()[:1], UnsupportedFile, "not_text"),
        ("a.txt", "é".encode("latin-1") * 2000, UnsupportedFile, "not_text"),
    ],
)
def test_a_bad_file(name: str, content: bytes, error: type[ProblemError], code: str, size: int) -> None:
    with pytest.raises(error) as caught:
        inspect(name, content, size=size)
    assert caught.value.code == code


def test_too_large_is_seen_at_the_byte_that_is_too_many() -> None:
    inspector = FileInspector("a.txt", 10)
    inspector.feed(b"x" * 10)
    with pytest.raises(TooLarge) as caught:
        inspector.feed(b"x")
    assert caught.value.code == "file_too_large"

"""Names of files that are sent (RFC 6266, RFC 8187)."""

import re
from urllib.parse import unquote

import pytest

from little_monster.db.models.user_documents import FileType
from little_monster.platform.http.attachments import MEDIA_TYPES, attachment


def names(title: str, file_type: FileType = FileType.PDF) -> tuple[str, str]:
    """Return the name for old clients and the whole one."""
    value = attachment(title, file_type)
    found = re.fullmatch(
        r"attachment; filename=\"([^\"\\]*)\"; filename\*=UTF-8''([A-Za-z0-9!#$&+^`|~._%-]*)", value
    )
    assert found, value
    assert value.isascii()
    assert value.isprintable()
    return found[1], unquote(found[2])


@pytest.mark.parametrize(
    ("title", "plain", "whole"),
    [
        ("Cells", "Cells.pdf", "Cells.pdf"),
        ("Cells.PDF", "Cells.PDF", "Cells.PDF"),
        ("Über Zellen", "Uber Zellen.pdf", "Über Zellen.pdf"),
        ("細胞", "document.pdf", "細胞.pdf"),
        ("../../etc/passwd", "_.._etc_passwd.pdf", "_.._etc_passwd.pdf"),
        ("a\r\nSet-Cookie: x=1", "a Set-Cookie_ x=1.pdf", "a Set-Cookie_ x=1.pdf"),
        ('a"; filename="b.exe', "a_; filename=_b.exe.pdf", "a_; filename=_b.exe.pdf"),
        ("photo\u202efdp.exe", "photo fdp.exe.pdf", "photo fdp.exe.pdf"),
        ("100% \\ %41", "100_ _ _41.pdf", "100% _ %41.pdf"),
        (" ... ", "document.pdf", "document.pdf"),
        ("\ud800", "document.pdf", "document.pdf"),
    ],
)
def test_a_title_is_a_name(title: str, plain: str, whole: str) -> None:
    assert names(title) == (plain, whole)


def test_a_long_title_is_cut() -> None:
    assert len(names("x" * 300)[1]) < 160


@pytest.mark.parametrize("file_type", FileType)
def test_every_type_has_its_suffix_and_is_safe(file_type: FileType) -> None:
    assert "." in names("a", file_type)[1]
    assert MEDIA_TYPES.get(file_type, "") not in ("text/html", "application/xhtml+xml", "image/svg+xml")

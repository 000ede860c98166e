"""Files of users, as a browser may have them: to store under a name, never to open as a page of ours."""

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from little_monster.db.models.user_documents import FileType
from little_monster.platform.http.safe_headers import POLICY

OCTETS: Final = "application/octet-stream"
"""As what all others are sent."""
MEDIA_TYPES: Final = {
    FileType.PDF: "application/pdf",
    FileType.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    FileType.PPTX: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    FileType.EPUB: "application/epub+zip",
    FileType.MARKDOWN: "text/markdown",
    FileType.TXT: "text/plain",
}
"""As what files are sent: their own types where nothing in them can run in a browser."""
SAFE_HEADERS: Final = {POLICY: "default-src 'none'; sandbox"}
"""Headers of what users have made, for who opens it after all."""

_SUFFIXES: Final = {FileType.MARKDOWN: ".md"}
_MAX_NAME_CHARS: Final = 150
# What no file system takes, or one reads as a path. Control characters, and overrides of direction that could
# hide a suffix, are found by their category.
_UNSAFE: Final = re.compile(r'[/\\:*?"<>|]')
_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# RFC 8187's attr-char, but for what `quote` never touches.
_ATTRIBUTE: Final = "!#$&+^`|"


def attachment(title: str, file_type: FileType) -> str:
    """Return the value of `Content-Disposition` (RFC 6266) for a file named by its document's title: in ASCII
    for old clients, and whole (RFC 8187)."""
    name = _safe(title)
    suffix = _SUFFIXES.get(file_type, f".{file_type.value}")
    if not name.lower().endswith(suffix):
        name += suffix
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace("%", "_")
    if plain.startswith("."):
        plain = f"document{plain}"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE)}"


def _safe(title: str) -> str:
    shown = "".join(" " if unicodedata.category(one) in _HIDDEN else one for one in title)
    name = " ".join(_UNSAFE.sub("_", shown).split())[:_MAX_NAME_CHARS].strip(" .")
    return name or "document"

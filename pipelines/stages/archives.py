"""Zip archives that documents are kept in, opened without trust."""

import io
import zipfile
import zlib
from collections.abc import Callable

from little_monster.platform.errors import ReadFailure

MAX_UNPACKED_BYTES = 300 * 2**20
_MAX_ENTRIES = 20_000
# What zipfile raises of a broken, an unknown or an encrypted archive.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    ValueError,
    OverflowError,
    RuntimeError,
    EOFError,
    OSError,
)


def open_archive(
    content: bytes, *, kind: str, needs: str, damaged: Callable[[], ReadFailure]
) -> zipfile.ZipFile:
    """Return the archive of a document, which holds `needs`. What its entries say of their size is true: no
    more is read of them, and nothing is ever written where their names point.

    Args:
        content: of the file.
        kind: of document, for the failure.
        needs: a name that must be in it.
        damaged: the failure when it is no such archive.

    Raises:
        ReadFailure: `damaged`; `{kind}_too_large`.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _BROKEN:
        raise damaged() from None
    entries = archive.infolist()
    if needs not in {entry.filename for entry in entries}:
        raise damaged()
    if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise ReadFailure(
            f"{kind}_too_large",
            f"The file unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MB, or to too many parts; leave "
            "out pictures, or split it.",
        )
    return archive


def read_entry(archive: zipfile.ZipFile, name: str, damaged: Callable[[], ReadFailure]) -> bytes:
    """Return the content of an entry. Raises `damaged`."""
    try:
        return archive.read(name)
    except (KeyError, *_BROKEN):
        raise damaged() from None

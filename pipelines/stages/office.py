"""What files of Office Open XML share."""

from typing import Any

from little_monster.platform.errors import ReadFailure

CONTENT_TYPES = "[Content_Types].xml"
"""The part that each of them has (ECMA-376, part 2)."""

# A password turns one into an OLE compound file, which the old binary formats are too.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def check_password(content: bytes, kind: str) -> None:
    """Return when a file of this kind (its extension) has no password.

    Raises:
        ReadFailure: `{kind}_encrypted`.
    """
    if content.startswith(_OLE):
        raise ReadFailure(
            f"{kind}_encrypted",
            f"The file has a password or is an old .{kind[:-1]}; save it as a .{kind} without one.",
        )


def date_of(properties: Any) -> str | None:
    """Return when a file was last changed, else made, by its core properties."""
    found = properties.modified or properties.created
    return found.date().isoformat() if found else None

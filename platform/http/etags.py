"""Entity tags and the requests that depend on them (RFC 9110, sections 8.8.3 and 13).

A resource's tag is strong and changes whenever anything of it that is shown may have changed. GET sends it
(`show`), and answers 304 to who has it; PATCH and DELETE compare `If-Match` with the row that they are about
to change, under its lock (`if_match`), so that of two who change the same version one is told.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, TypeVar
from zlib import crc32

from fastapi import Request, Response

from little_monster.platform.errors import PreconditionFailed

Row = TypeVar("Row")

REVALIDATE: Final = "private, no-cache"
"""`Cache-Control` of what has a tag: its owner's browser may keep it, and asks each time."""
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "It is still what `If-None-Match` names."}
}
"""The OpenAPI `responses` of a GET that calls `show`."""

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# A compressed answer is another representation, whose tag `compression.py` tells apart by its end.
_CODING = re.compile(r"-(?:br|gzip|zstd)$")
# No tag of `tag_of` has it in any other place.
_COUNTED: Final = "+"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class NotModified(Exception):
    """The client has what it asks for; `tag` is the one that it named."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def tag_of(changed_at: datetime, *more: object) -> str:
    """Return the tag of a resource whose row changed at `changed_at`, and of `more` that it shows and the row
    does not hold.
    """
    microseconds = (changed_at - _EPOCH) // _MICROSECOND
    parts = [_FORMAT, f"{microseconds:x}", *(str(one) for one in more)]
    return f'"{"-".join(parts)}"'


def counted(tag: str, *counts: object) -> str:
    """Return the tag of a resource that also shows counts, which others change all the time. A change of them
    is told to who reads (`show`), and is no reason against a change of the resource (`if_match`).
    """
    return f'{tag[:-1]}{_COUNTED}{"-".join(str(one) for one in counts)}"'


def show(request: Request, response: Response, tag: str) -> None:
    """Send `tag` with the answer, or that nothing has changed in the place of it.

    Raises:
        NotModified: `If-None-Match` names the tag; the application answers 304.
    """
    if "if-none-match" in request.headers and (known := _known(request, tag)) is not None:
        raise NotModified(known)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = REVALIDATE


def is_known(request: Request, tag: str) -> bool:
    """Say whether `If-None-Match` names the tag, for who need not read on then."""
    return _known(request, tag) is not None


def if_match(request: Request, tag: Callable[[Row], str]) -> Callable[[Row], None]:
    """Return a check of the row that is about to be changed, which has the tag `tag(row)`.

    The check raises:
        PreconditionFailed: `If-Match` names other versions only.
    """
    given = request.headers.getlist("if-match")

    def check(row: Row) -> None:
        if given and not _allows(given, tag(row)):
            raise PreconditionFailed("It has changed since the version that `If-Match` names; read it again.")

    return check


def known_tag(given: Sequence[str], tag: str) -> str | None:
    """Return how `If-None-Match` names the tag, None when it does not. Weak comparison: both name the same
    version."""
    line = ",".join(given)
    if line.strip() == "*":
        return tag
    return next((f'"{opaque}"' for _, opaque in _TAG.findall(line) if _plain(opaque) == tag), None)


def _known(request: Request, tag: str) -> str | None:
    return known_tag(request.headers.getlist("if-none-match"), tag)


def _allows(given: Sequence[str], tag: str) -> bool:
    """Strong comparison: a weak tag names no version for certain."""
    line, wanted = ",".join(given), _edited(tag)
    return line.strip() == "*" or any(
        not weak and _edited(_plain(opaque)) == wanted for weak, opaque in _TAG.findall(line)
    )


def _edited(tag: str) -> str:
    """Return the tag without what stands in it for counts."""
    return tag.partition(_COUNTED)[0].removesuffix('"')


def _plain(opaque: str) -> str:
    return f'"{_CODING.sub("", opaque)}"'


def _format() -> str:
    """Return what stands for the way in which this release shows things: another one may show more."""
    try:
        release = version("little-monster")
    except PackageNotFoundError:
        release = "0.0.0"
    return f"{crc32(release.encode()):x}"


_FORMAT: Final = _format()

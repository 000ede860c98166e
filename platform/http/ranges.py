"""Parts of a file by `Range` (RFC 9110, section 14): one range of bytes; who asks for several gets all."""

import re
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from little_monster.platform.errors import RangeNotSatisfiable

_ONE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` until before `end` of a file of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of `Content-Range`."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def wanted_range(request: Request, size: int, tag: str) -> ByteRange | None:
    """Return the part that a request asks for of a file that is not empty; None where it asks for all, cannot
    be understood, or means another version (`If-Range`).

    Raises:
        RangeNotSatisfiable: the file ends before it begins.
    """
    found = _ONE.fullmatch(request.headers.get("range", ""))
    # A date is of no version here, and a weak tag never is (section 13.1.5).
    if found is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(size - int(suffix), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return ByteRange(start, end, size)

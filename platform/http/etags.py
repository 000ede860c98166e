"""Versions of a resource: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Header

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags that a request names; None when it names none, or all by `*`."""

    values: frozenset[str] | None

    def match(self, updated_at: datetime) -> bool:
        """Say whether a resource that last changed then may be changed now."""
        return self.values is None or etag_of(updated_at) in self.values

    def know(self, etag: str) -> bool:
        """Say whether the client has this version already; weak tags count, as they may."""
        return self.values is not None and etag in {one.removeprefix("W/") for one in self.values}


def etag_of(updated_at: datetime) -> str:
    """Return the tag of the version that a resource has since `updated_at`."""
    return f'"{(updated_at - _EPOCH) // _MICROSECOND:x}"'


async def _if_match(
    header: Annotated[
        str | None,
        Header(
            alias="If-Match",
            max_length=1000,
            description="The `ETag` of the version that is to be changed; another one is answered 412.",
        ),
    ] = None,
) -> Tags:
    return _read(header)


async def _if_none_match(
    header: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            max_length=1000,
            description="The `ETag` of the version that the client has; it is answered 304.",
        ),
    ] = None,
) -> Tags:
    return _read(header)


IfMatch = Annotated[Tags, Depends(_if_match)]
IfNoneMatch = Annotated[Tags, Depends(_if_none_match)]


def _read(header: str | None) -> Tags:
    tags = frozenset(tag.strip() for tag in (header or "*").split(","))
    return Tags(None if "*" in tags else tags)

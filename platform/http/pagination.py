"""Lists in pages: an opaque cursor names the last thing seen, so that pages are stable while things are
added.

An endpoint takes `page: PageDep`, asks its repository for `page.fetch` rows (one more than it shows, which
tells whether there is a next page) after `page.after`, `page.after_number(...)` or `page.after_index`, and
returns `listing(...)` as a `Listing[View]`.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field

from little_monster.platform.errors import InvalidInput
from little_monster.platform.http.etags import REVALIDATE
from little_monster.platform.http.links import Links, link_header, page_link

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

Row = TypeVar("Row")
View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class NumberPosition:
    """Where a row stands in a list that is ordered by a number and then by key. `order` names the number, as
    a cursor of one order means nothing in another. `as_of` is the moment of the list that is paged through,
    where newer rows would change it."""

    order: str
    number: Decimal
    key: UUID
    as_of: datetime | None = None


Position = tuple[datetime, UUID] | NumberPosition | int


class Listing(BaseModel, Generic[View]):
    """One page of a list. `next_cursor` is null on the last page."""

    items: list[View]
    next_cursor: str | None = Field(
        description="Pass it as `cursor` to get the next page; null: there is none."
    )
    links: Links = Field(validation_alias="_links", serialization_alias="_links")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for. `after*` raise InvalidInput for a cursor that this list did not
    give."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    name: str = ""

    @property
    def fetch(self) -> int:
        """Rows to read: one more than are shown."""
        return self.limit + 1

    @property
    def after(self) -> tuple[datetime, UUID] | None:
        """The position of the last row seen in a list that is ordered by time, None at its start."""
        position = self._position
        if position is not None and not isinstance(position, tuple):
            raise _bad_cursor()
        return position

    def after_number(self, order: str) -> NumberPosition | None:
        """The position of the last row seen in a list that is ordered by the number `order`, None at its
        start."""
        position = self._position
        if position is None:
            return None
        if not isinstance(position, NumberPosition) or position.order != order:
            raise _bad_cursor()
        return position

    @property
    def after_index(self) -> int | None:
        """The position of the last row seen in a list that is ordered by a number, None at its start."""
        position = self._position
        if position is not None and not isinstance(position, int):
            raise _bad_cursor()
        return position

    @property
    def _position(self) -> Position | None:
        return None if self.cursor is None else decode_cursor(self.name, self.cursor)


async def get_page(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items in a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None,
        Query(max_length=200, description="`next_cursor` of the page before; empty: the first page."),
    ] = None,
) -> Page:
    """Read the page that a request asks for."""
    return Page(limit, cursor or None, _name_of(request))


PageDep = Annotated[Page, Depends(get_page)]


def encode_cursor(name: str, position: Position) -> str:
    """Return the cursor of a position in the list `name`: URL-safe, and not to be read by clients."""
    parts: list[object]
    if isinstance(position, int):
        parts = [position]
    elif isinstance(position, NumberPosition):
        parts = [position.order, str(position.number), position.key.hex]
        if position.as_of is not None:
            parts.append(position.as_of.isoformat())
    else:
        parts = [position[0].isoformat(), position[1].hex]
    return base64.urlsafe_b64encode(json.dumps([name, *parts]).encode()).decode().rstrip("=")


def decode_cursor(name: str, cursor: str) -> Position:
    """Return the position that `encode_cursor` wrote for the same list.

    Raises:
        InvalidInput: it did not.
    """
    try:
        given, *parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        if given != name:
            raise _bad_cursor()
        if len(parts) == 1:
            return _index(parts[0])
        if len(parts) in (3, 4):
            as_of = _moment(parts[3]) if len(parts) == 4 else None
            return NumberPosition(str(parts[0]), _number(parts[1]), UUID(hex=parts[2]), as_of)
        if len(parts) != 2:
            raise _bad_cursor()
        return _moment(parts[0]), UUID(hex=parts[1])
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
        raise _bad_cursor() from None


def position_of(
    order: str, value: datetime | Decimal | int | float, key: UUID, as_of: datetime | None = None
) -> Position:
    """Return where a row stands whose place in the list rests on `value` and then on `key`."""
    if isinstance(value, datetime):
        return value, key
    return NumberPosition(order, Decimal(str(value)), key, as_of)


def nothing_to_be_relevant_to() -> InvalidInput:
    """Return the error for a list that is to be sorted by relevance to nothing."""
    return InvalidInput(
        "Only a search can be sorted by relevance.",
        errors=[{"field": "query.sort", "message": "relevance needs q"}],
    )


def listing(
    request: Request,
    response: Response,
    page: Page,
    rows: Sequence[Row],
    *,
    view: Callable[[Row], Any],
    position: Callable[[Row], Position],
) -> dict[str, Any]:
    """Return the body of a list from at most `page.fetch` rows, and set its headers.

    Args:
        view: makes the shown item of a row.
        position: where a row stands in the order of the list: `(created_at, id)`, or its index.
    """
    shown = rows[: page.limit]
    cursor = encode_cursor(page.name, position(shown[-1])) if len(rows) > page.limit else None
    return listing_of(request, response, page, [view(row) for row in shown], cursor)


def listing_of(
    request: Request, response: Response, page: Page, items: Sequence[Any], cursor: str | None
) -> dict[str, Any]:
    """Return the body of a list from its shown items and the cursor behind them; set its headers."""
    links: Links = {"self": page_link(request, page.cursor), "first": page_link(request, None)}
    if cursor is not None:
        links["next"] = page_link(request, cursor)
    revalidate(response, links)
    return {"items": items, "next_cursor": cursor, "_links": links}


def revalidate(response: Response, links: Links) -> None:
    """Set the headers of a list: its links, and that it is to be asked for again (`list_tags`)."""
    response.headers["Link"] = link_header(links)
    response.headers["Cache-Control"] = REVALIDATE


def _name_of(request: Request) -> str:
    """Return what tells one list from another, short enough for a cursor: a digest of its path."""
    return hashlib.sha256(request.scope["path"].encode()).hexdigest()[:8]


def _index(value: object) -> int:
    # The largest int4: PostgreSQL would refuse a larger one with an error of its own.
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 2**31:
        raise ValueError
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    # A year that PostgreSQL's driver cannot shift to UTC would fail there with an error of its own.
    if moment.tzinfo is None or not 1970 <= moment.year <= 2200:
        raise ValueError
    return moment


def _number(value: object) -> Decimal:
    number = Decimal(str(value))
    # What bigint and double both hold: PostgreSQL would refuse others with an error of its own.
    if not number.is_finite() or abs(number) >= 2**63 or abs(number.adjusted()) > 60:
        raise ValueError
    return number


def _bad_cursor() -> InvalidInput:
    return InvalidInput(
        "The cursor is not one of this list.",
        code="invalid_cursor",
        errors=[{"field": "query.cursor", "message": "not a cursor of this list"}],
    )

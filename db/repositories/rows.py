"""What all repositories share: lists by keyset, and inserts that name the constraint that refused them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, Uuid, bindparam, func, select, tuple_
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from little_monster.db.base import Base
from little_monster.db.errors import DuplicateKey, MissingParent, RowRefused
from little_monster.db.reads import ReadQuery
from little_monster.db.session import Session

Row = TypeVar("Row")
Model = TypeVar("Model", bound=Base)

# A repository's own `list` hides the builtin in its file.
Rows: TypeAlias = list[Row]

After: TypeAlias = tuple[datetime, UUID] | None
"""Key of the last row that the caller has; None at the start."""

_WHOLE_MS = "600000"

_FOREIGN_KEY_VIOLATION, _INSUFFICIENT_PRIVILEGE = "23503", "42501"
_REFUSALS = {"23505": DuplicateKey, "23503": MissingParent}


async def insert(session: Session, row: Model) -> Model:
    """Insert one row and read back what the database filled in.

    Raises:
        DuplicateKey: a unique constraint refused it; the transaction can only be rolled back.
        MissingParent: a foreign key did; the same.
    """
    await insert_all(session, [row])
    return row


async def insert_all(session: Session, rows: Sequence[Base]) -> None:
    """Insert many rows at once. Raises as `insert`."""
    session.add_all(rows)
    try:
        await session.flush()
    except IntegrityError as error:
        refusal = _REFUSALS.get(getattr(error.orig, "sqlstate", None) or "")
        if refusal is None:
            raise
        raise refusal(_constraint(error)) from error


@contextmanager
def refusals() -> Iterator[None]:
    """Say in the caller's terms that a row was refused; the transaction can only be rolled back.

    Raises:
        RowRefused: by row level security or a foreign key.
    """
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in (_FOREIGN_KEY_VIOLATION, _INSUFFICIENT_PRIVILEGE):
            raise RowRefused("what the row hangs on is gone or out of sight") from error
        raise


async def locked(session: Session, model: type[Model], key: UUID) -> Model | None:
    """Return the row, and let nobody change it before this transaction ends; rows that belong to it may still
    be added.
    """
    lock = {"key_share": True}
    return await session.get(model, key, with_for_update=lock, populate_existing=True)


async def change(session: Session, row: Base, values: Mapping[str, Any]) -> None:
    """Write other values, by their names in the model, into a locked row; a row that has them already stays
    as it is.
    """
    for name, value in values.items():
        setattr(row, name, value)
    await session.flush()


def newest_first(
    query: Select[Model],
    moment: InstrumentedAttribute[datetime],
    key: InstrumentedAttribute[UUID],
    *,
    limit: int,
    after: After,
) -> Select[Model]:
    """Order by (`moment`, `key`) falling, and start behind `after`: stable while rows are inserted."""
    if after is not None:
        query = query.where(tuple_(moment, key) < tuple_(*after))
    return query.order_by(moment.desc(), key.desc()).limit(limit)


def newest_page(
    query: Select[Model],
    moment: InstrumentedAttribute[datetime],
    key: InstrumentedAttribute[UUID],
    *,
    later: bool,
) -> ReadQuery:
    """Return the same, compiled, behind another row when `later`; it takes the values of `page_values`."""
    after: Any = (bindparam("seen_at", type_=moment.type), bindparam("seen_id", type_=Uuid()))
    limit: Any = bindparam("limit", type_=Integer())
    return ReadQuery(newest_first(query, moment, key, limit=limit, after=after if later else None))


def page_values(limit: int, after: tuple[Any, UUID] | None, **more: Any) -> dict[str, Any]:
    """Return the values of a page: of `limit` rows behind `after`, and of what else the query is about."""
    seen, seen_id = after or (None, None)
    return {"limit": limit, "seen_at": seen, "seen_id": seen_id, **more}


def highest_first(
    query: Select[Any],
    number: InstrumentedAttribute[Any] | ColumnElement[Any],
    key: InstrumentedAttribute[UUID],
    *,
    limit: int,
    after: tuple[Any, UUID] | None,
) -> Select[Any]:
    """Order by (`number`, `key`) falling, and start behind `after`, whose number is of the column's type."""
    if after is not None:
        query = query.where(tuple_(number, key) < tuple_(*after))
    return query.order_by(number.desc(), key.desc()).limit(limit)


def highest_page(
    query: Select[Any],
    number: InstrumentedAttribute[Any] | ColumnElement[Any],
    key: InstrumentedAttribute[UUID],
    *,
    later: bool,
) -> ReadQuery:
    """Return the same, compiled, behind another row when `later`; it takes the values of `page_values`."""
    after: Any = (bindparam("seen_at", type_=number.type), bindparam("seen_id", type_=Uuid()))
    limit: Any = bindparam("limit", type_=Integer())
    return ReadQuery(highest_first(query, number, key, limit=limit, after=after if later else None))


def oldest_first(
    query: Select[Any],
    moment: InstrumentedAttribute[datetime],
    key: InstrumentedAttribute[UUID],
    *,
    limit: int,
    after: tuple[Any, UUID] | None,
) -> Select[Any]:
    """Order by (`moment`, `key`) rising, as a queue stands, and start behind `after`."""
    if after is not None:
        query = query.where(tuple_(moment, key) > tuple_(*after))
    return query.order_by(moment, key).limit(limit)


async def delete_whole(session: Session, statement: Any) -> int:
    """Run a DELETE that takes with it all rows that hang on the deleted ones, and return how many rows it
    deleted itself. They may be hundreds of thousands: it has ten minutes, whatever the limit of others is.
    """
    await session.execute(select(func.set_config("statement_timeout", _WHOLE_MS, True)))
    return await changed(session, statement)


async def changed(session: Session, statement: Any) -> int:
    """Run an UPDATE or DELETE and return how many rows it changed; rows already loaded are not refreshed."""
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    count: int = result.rowcount  # type: ignore[attr-defined]
    return count


def _constraint(error: IntegrityError) -> str:
    """Return the name that asyncpg's own error, below SQLAlchemy's, carries."""
    cause = error.orig and error.orig.__cause__
    return getattr(cause, "constraint_name", None) or "unknown"

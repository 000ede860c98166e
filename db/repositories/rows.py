"""What all repositories share: lists by keyset, and inserts that name the constraint that refused them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from little_monster.db.base import Base
from little_monster.db.errors import DuplicateKey
from little_monster.db.session import Session

Row = TypeVar("Row")
Model = TypeVar("Model", bound=Base)

# A repository's own `list` hides the builtin in its file.
Rows: TypeAlias = list[Row]

After: TypeAlias = tuple[datetime, UUID] | None
"""Key of the last row that the caller has; None at the start."""

_UNIQUE_VIOLATION = "23505"


async def insert(session: Session, row: Model) -> Model:
    """Insert one row and read back what the database filled in.

    Raises:
        DuplicateKey: a unique constraint refused it; the transaction can only be rolled back.
    """
    await insert_all(session, [row])
    return row


async def insert_all(session: Session, rows: Sequence[Base]) -> None:
    """Insert many rows at once. Raises as `insert`."""
    session.add_all(rows)
    try:
        await session.flush()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        raise DuplicateKey(_constraint(error)) from error


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


async def changed(session: Session, statement: Any) -> int:
    """Run an UPDATE or DELETE and return how many rows it changed; rows already loaded are not refreshed."""
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    count: int = result.rowcount  # type: ignore[attr-defined]
    return count


def _constraint(error: IntegrityError) -> str:
    """Return the name that asyncpg's own error, below SQLAlchemy's, carries."""
    cause = error.orig and error.orig.__cause__
    return getattr(cause, "constraint_name", None) or "unknown"

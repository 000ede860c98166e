"""All accounts, as an admin sees them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import text

from little_monster.db.base import new_id
from little_monster.db.models.users import UserRole
from little_monster.db.repositories.rows import After, Rows, refusals
from little_monster.db.session import Session

Outcome: TypeAlias = Literal["changed", "same", "missing", "stale", "own"]

_COLUMNS = "id, display_name, role::text AS role, created_at, updated_at"


@dataclass(frozen=True, slots=True)
class ListedUser:
    """What an admin sees of somebody's account."""

    id: UUID
    display_name: str
    role: UserRole
    created_at: datetime
    updated_at: datetime


async def list(session: Session, *, limit: int, after: After = None) -> Rows[ListedUser]:
    """Return at most `limit` accounts, newest first, behind `after` (`key` of the last one seen).

    Raises:
        RowRefused: the user of the session is no admin.
    """
    query = text(f"SELECT {_COLUMNS} FROM auth.list_users(:limit, :seen_at, :seen_id)")
    seen_at, seen_id = after or (None, None)
    with refusals():
        rows = await session.execute(query, {"limit": limit, "seen_at": seen_at, "seen_id": seen_id})
    return [_user(row) for row in rows]


def key(row: ListedUser) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def get(session: Session, user_id: UUID) -> ListedUser | None:
    """Return the account.

    Raises:
        RowRefused: the user of the session is no admin.
    """
    with refusals():
        rows = await session.execute(
            text(f"SELECT {_COLUMNS} FROM auth.find_user(:user_id)"), {"user_id": user_id}
        )
    row = rows.one_or_none()
    return None if row is None else _user(row)


async def set_role(
    session: Session, user_id: UUID, role: str, *, seen: datetime | None, address_prefix: str | None
) -> Outcome:
    """Give a role to somebody else, with an event in their audit trail, and say what came of it.

    Args:
        seen: `updated_at` that the account must still have; None: any.

    Raises:
        RowRefused: the user of the session is no admin.
    """
    query = text("SELECT auth.set_role(:user_id, :role, :seen, :event, :network)")
    values = {
        "user_id": user_id,
        "role": role,
        "seen": seen,
        "event": new_id(),
        "network": address_prefix,
    }
    with refusals():
        outcome: Outcome = (await session.execute(query, values)).scalar_one()
    return outcome


async def is_last_admin(session: Session) -> bool:
    """Say whether the user of the session is the only admin; it stays so until the transaction ends, as no
    role changes and no other admin asks meanwhile."""
    return bool(await session.scalar(text("SELECT auth.is_last_admin()")))


def _user(row: Any) -> ListedUser:
    return ListedUser(row.id, row.display_name, UserRole(row.role), row.created_at, row.updated_at)

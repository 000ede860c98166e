"""Roles that the operator gives, as whom there is no admin yet."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from little_monster.db.base import new_id
from little_monster.db.migrate import owner_connection
from little_monster.db.models.users import UserRole
from little_monster.db.policies.administration import LOCK
from little_monster.db.policies.roles import SYSTEM

_FIND = text("SELECT id, role::text AS role FROM users WHERE lower(email) = lower(:email) FOR NO KEY UPDATE")
_OTHER_ADMINS = text("SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND id <> :id)")
_WRITE = text("UPDATE users SET role = CAST(:role AS user_role) WHERE id = :id")
_RECORD = text(
    "INSERT INTO audit_events (id, user_id, kind, details) VALUES (:event, :id, 'role_changed',"
    " jsonb_build_object('from', CAST(:before AS text), 'to', CAST(:role AS text), 'by', 'operator'))"
)


class NoSuchAccount(LookupError):
    """Nobody has this address."""


class LastAdmin(Exception):
    """Nobody would be left who can give roles."""


@dataclass(frozen=True, slots=True)
class _Found:
    id: UUID
    role: str


async def promote(owner_url: str, email: str, role: UserRole) -> str:
    """Give the account of `email` a role, with an event in its audit trail, and return the one that it had.

    Raises:
        NoSuchAccount: nobody has the address.
        LastAdmin: it is the last admin's.
        DatabaseUnavailable: the database does not answer.
        MigrationFailed: a right is missing; nothing has changed.
    """
    async with owner_connection(owner_url) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        # Forced row level security binds an owner that is no superuser.
        await connection.execute(text(f"SET LOCAL ROLE {SYSTEM}"))
        found = await _find(connection, email)
        if found.role != role:
            await _write(connection, found, role)
        return found.role


async def _find(connection: AsyncConnection, email: str) -> _Found:
    row = (await connection.execute(_FIND, {"email": email})).one_or_none()
    if row is None:
        raise NoSuchAccount(email)
    return _Found(row.id, row.role)


async def _write(connection: AsyncConnection, found: _Found, role: UserRole) -> None:
    if found.role == UserRole.ADMIN and not await connection.scalar(_OTHER_ADMINS, {"id": found.id}):
        raise LastAdmin
    await connection.execute(_WRITE, {"id": found.id, "role": role.value})
    values = {"event": new_id(), "id": found.id, "before": found.role, "role": role.value}
    await connection.execute(_RECORD, values)

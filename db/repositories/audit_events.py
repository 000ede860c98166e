"""The audit trail: added to, and read by whose account it is about."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from little_monster.db.models.audit_events import AuditEvent
from little_monster.db.repositories.rows import After, Rows, newest_first
from little_monster.db.session import Session


async def add(
    session: Session,
    *,
    kind: str,
    user_id: UUID | None,
    actor_id: UUID | None,
    address_prefix: str | None,
    details: dict[str, Any],
) -> None:
    """Add an event about the user of the session, or as nobody one about no account."""
    values = {
        "kind": kind,
        "user_id": user_id,
        "actor_id": actor_id,
        "address_prefix": address_prefix,
        "details": details,
    }
    # Nothing is read back: nobody may read what nobody has added.
    await session.execute(insert(AuditEvent.__table__).values(values))  # type: ignore[arg-type]


async def list(session: Session, *, limit: int, after: After = None) -> Rows[AuditEvent]:
    """Return at most `limit` events, newest first, behind `after` (`key` of the last one seen)."""
    query = newest_first(select(AuditEvent), AuditEvent.created_at, AuditEvent.id, limit=limit, after=after)
    return [*await session.scalars(query)]


def key(row: AuditEvent) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id

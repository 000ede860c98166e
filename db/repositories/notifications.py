"""What users are told."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from little_monster.db.models.notifications import Notification
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import After, Rows, changed, insert, locked, newest_first
from little_monster.db.session import Database, Session

_BY_ID = ByKey(Notification)


async def create(
    session: Session,
    *,
    user_id: UUID,
    kind: str,
    title: str,
    body: str = "",
    subject_id: UUID | None = None,
    data: dict[str, Any] | None = None,
    dedup_key: str | None = None,
) -> Notification:
    """Insert a notification.

    Raises:
        DuplicateKey: `notifications_user_id_dedup_key_key`, the user was told.
    """
    row = Notification(
        user_id=user_id,
        kind=kind,
        title=title,
        body=body,
        subject_id=subject_id,
        data=data or {},
        dedup_key=dedup_key,
    )
    return await insert(session, row)


async def read(database: Database, owner: UUID, notification_id: UUID) -> Notification | None:
    """Return the notification, in a transaction of its own; None also for somebody else's."""
    return await database.read(owner, _BY_ID, notification_id)


async def lock(session: Session, notification_id: UUID) -> Notification | None:
    """Return the notification, and let nobody change it before this transaction ends; None also for somebody
    else's."""
    return await locked(session, Notification, notification_id)


async def list(
    session: Session, *, limit: int, after: After = None, unread: bool | None = None
) -> Rows[Notification]:
    """Return at most `limit` notifications, newest first, behind `after`."""
    query = select(Notification)
    if unread is not None:
        query = query.where(Notification.read_at.is_(None) if unread else Notification.read_at.is_not(None))
    query = newest_first(query, Notification.created_at, Notification.id, limit=limit, after=after)
    return [*await session.scalars(query)]


async def set_read(session: Session, notification_id: UUID, read: bool) -> Notification | None:
    """Note that the notification was read, the first time, or that it was not; None when there is none."""
    read_at = func.coalesce(Notification.read_at, func.now()) if read else None
    query = update(Notification).where(Notification.id == notification_id).values(read_at=read_at)
    options = {"synchronize_session": False, "populate_existing": True}
    return await session.scalar(query.returning(Notification), execution_options=options)


async def read_all(session: Session) -> int:
    """Note that all of the user's notifications were read; return how many had not been."""
    query = update(Notification).where(Notification.read_at.is_(None)).values(read_at=func.now())
    return await changed(session, query)

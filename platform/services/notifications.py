"""What users are told, and whether they have read it."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from little_monster.db.models.notifications import Notification
from little_monster.db.repositories import notifications
from little_monster.db.session import Database
from little_monster.platform.errors import NotFound

After = tuple[datetime, UUID] | None
Check = Callable[[Notification], None]
"""Raises when a notification is not what the caller means to change."""


async def list_notifications(
    database: Database, owner: UUID, *, limit: int, after: After, unread: bool | None
) -> list[Notification]:
    """Return at most `limit` notifications, newest first, behind `after`."""
    async with database.session(owner) as session:
        return await notifications.list(session, limit=limit, after=after, unread=unread)


async def read_notification(database: Database, owner: UUID, notification_id: UUID) -> Notification:
    """Return the notification.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    notification = await notifications.read(database, owner, notification_id)
    if notification is None:
        raise _no_notification()
    return notification


async def mark(
    database: Database, owner: UUID, notification_id: UUID, *, read: bool, check: Check
) -> Notification:
    """Note that a notification was read, or that it was not.

    Raises:
        NotFound: there is none, or it is somebody else's.
        ProblemError: what `check` raises of the notification as it is now.
    """
    async with database.session(owner) as session:
        notification = await notifications.lock(session, notification_id)
        if notification is not None:
            check(notification)
            notification = await notifications.set_read(session, notification_id, read)
    if notification is None:
        raise _no_notification()
    return notification


async def mark_all(database: Database, owner: UUID) -> int:
    """Note that all notifications were read; return how many had not been."""
    async with database.session(owner) as session:
        return await notifications.read_all(session)


def _no_notification() -> NotFound:
    return NotFound("There is no such notification.", code="notification_not_found")

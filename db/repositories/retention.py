"""Deletes what has ended, some rows at a time; works for nobody's session. What may go stands in
`db/policies/retention.py`."""

from datetime import timedelta
from enum import StrEnum

from sqlalchemy import func, select, text

from little_monster.db.session import Session


class Kind(StrEnum):
    """What is swept."""

    SESSIONS = "sessions"
    EMAIL_CODES = "email_codes"
    READ_NOTIFICATIONS = "read_notifications"
    UNREAD_NOTIFICATIONS = "unread_notifications"
    PERSONAL_TOKENS = "personal_tokens"
    CALENDAR_FEEDS = "calendar_feeds"
    JOBS = "jobs"
    QUEUE_LOG = "queue_log"
    QUEUE_STATISTICS = "queue_statistics"


# The queue's own notes are a worker's, and need no function.
_QUEUE = {Kind.QUEUE_LOG: "queue.pgqueuer_log", Kind.QUEUE_STATISTICS: "queue.pgqueuer_statistics"}
_FORGET = """
    WITH gone AS (
        DELETE FROM {table} WHERE id = ANY (ARRAY(
            SELECT r.id FROM {table} r WHERE r.created < now() - CAST(:kept AS interval)
            ORDER BY r.id LIMIT :limit FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    )
    SELECT count(*) FROM gone
"""


async def sweep(session: Session, kind: Kind, kept: timedelta, *, limit: int) -> int:
    """Delete what ended more than `kept` ago, some `limit` rows of it at most; return how many went.

    Of many at once each takes other rows. Rows that somebody else holds stay for the next time.
    """
    if kind in _QUEUE:
        query = text(_FORGET.format(table=_QUEUE[kind]))
        return int(await session.scalar(query, {"kept": kept, "limit": limit}) or 0)
    function = getattr(func.retention, f"sweep_{kind.value}")
    return int(await session.scalar(select(function(kept, limit))) or 0)

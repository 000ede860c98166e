"""Reminders: when the next one of an event is due, and making notifications of those that are.

The next one is kept in a column, `next_reminder_at`, computed whenever an event is written and whenever a
reminder goes out. So the database finds what is due by an index, whoever's it is, and reads no rule.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import structlog

from little_monster.db.policies.planner import LATE
from little_monster.db.repositories import planner_events
from little_monster.db.repositories.planner_events import Emitted, NextReminder
from little_monster.db.session import Database
from little_monster.platform.services.planner.occurrences import Series

BATCH = 200

_TICK = timedelta(microseconds=1)

_log = structlog.get_logger(__name__)


def next_reminder(
    series: Series, minutes: Sequence[int], *, after: datetime, told: datetime | None = None, now: datetime
) -> tuple[datetime, datetime] | None:
    """Return when the first reminder behind `after` is due, and the start that it reminds of.

    Reminders of two starts may be due at one moment, as that of a day before for tomorrow and that of today:
    they follow each other in the order of their starts.

    Args:
        minutes: before each start; one reminder each.
        after: when the last one was due.
        told: the start that it reminded of; None: so did all that were due then.
        now: reminders of what has begun by now are left out.
    """
    found = []
    for one in minutes:
        before = timedelta(minutes=one)
        begin = after + before
        if told is not None and begin > told:
            # Due at the same moment, and still to be told.
            begin -= _TICK
        start = series.first_after(max(begin, now - LATE))
        if start is not None:
            found.append((start - before, start))
    return min(found, default=None)


async def emit_due(database: Database, now: datetime) -> int:
    """Make a notification of each reminder that is due by `now`, of all users, and return how many went out.

    Any number of workers may do this at once, and one may be killed in it: each reminder goes out once.

    Raises:
        DatabaseUnavailable: the database does not answer; what is done is done.
    """
    count = 0
    while emitted := await _emit_batch(database, now):
        count += sum(one.told for one in emitted)
    return count


async def _emit_batch(database: Database, now: datetime) -> Sequence[Emitted]:
    async with database.session(None) as session:
        emitted = await planner_events.emit_due_reminders(session, now, limit=BATCH)
        await planner_events.schedule_reminders(session, [*_following(emitted, now)])
    return emitted


def _following(emitted: Iterable[Emitted], now: datetime) -> Iterator[NextReminder]:
    for one in emitted:
        try:
            found = next_reminder(
                Series.of(one), one.reminder_minutes, after=one.due_at, told=one.starts_at, now=now
            )
        except Exception:
            # One event that cannot be read, as of a time zone that is no more, must not hold up the others.
            _log.exception("reminder_not_scheduled", event_id=str(one.event_id))
            continue
        if found is not None:
            yield NextReminder(one.event_id, *found)

"""Events of the planner, and the queue of their reminders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, bindparam, func, or_, select, text
from sqlalchemy import delete as sql_delete

from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.db.reads import ByKey, ReadQuery
from little_monster.db.repositories.rows import (
    After,
    Rows,
    changed,
    insert,
    insert_all,
    newest_page,
    page_values,
)
from little_monster.db.session import Database, Session, Source

LONGEST = timedelta(days=366)
"""How long an event lasts at most: the index by start then finds all that last into a range."""

_BY_ID = ByKey(PlannerEvent)


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event whose reminder `due_at` went out, and what its next one is computed of."""

    event_id: UUID
    due_at: datetime
    start_date: datetime
    end_date: datetime
    time_zone: str
    all_day: bool
    recurrence: str | None
    exdates: Sequence[datetime]
    repeats_until: datetime | None
    reminder_minutes: Sequence[int]


@dataclass(frozen=True, slots=True)
class NextReminder:
    """When an event's next reminder is due, and the start that it reminds of."""

    event_id: UUID
    due_at: datetime
    starts_at: datetime


async def create(session: Session, *, event_id: UUID, user_id: UUID, **values: Any) -> PlannerEvent:
    """Insert an event; `values` are its columns.

    Raises:
        DuplicateKey: `planner_events_user_id_uid_key`.
    """
    return await insert(session, PlannerEvent(id=event_id, user_id=user_id, **values))


async def create_all(session: Session, rows: Sequence[PlannerEvent]) -> None:
    """Insert many events, and write what was changed of others in this session. Raises as `create`."""
    await insert_all(session, rows)


async def get(session: Session, event_id: UUID, *, for_update: bool = False) -> PlannerEvent | None:
    """Return the event, locked until the transaction ends if asked; None also for somebody else's."""
    return await session.get(PlannerEvent, event_id, with_for_update=for_update)


async def read(database: Database, owner: UUID, event_id: UUID, *, fresh: bool) -> PlannerEvent | None:
    """Return the event as `get` does, in a transaction of its own."""
    return await database.read(owner, _BY_ID, event_id, fresh=fresh)


async def save(session: Session, row: PlannerEvent) -> PlannerEvent:
    """Write what was changed of the row, and read back what the database filled in."""
    await session.flush()
    return row


async def list(
    session: Source,
    *,
    limit: int,
    after: After = None,
    type: EventType | None = None,
    subject: Subject | None = None,
    completed: bool | None = None,
) -> Rows[PlannerEvent]:
    """Return at most `limit` events, newest first, behind `after`."""
    wanted = _given(type=type, subject=subject, is_completed=completed)
    return await _page(after is not None, *wanted).models(session, page_values(limit, after, **wanted))


async def list_between(
    session: Source,
    begin: datetime,
    end: datetime,
    *,
    limit: int,
    type: EventType | None = None,
    subject: Subject | None = None,
    completed: bool | None = None,
) -> Rows[PlannerEvent]:
    """Return at most `limit` events that may take place between `begin` and `end`, the earliest first: single
    ones that do, and series that have begun by then and are not over.
    """
    wanted = _given(type=type, subject=subject, is_completed=completed)
    values = {"begin": begin, "earliest": begin - LONGEST, "end": end, "limit": limit, **wanted}
    return await _between(*wanted).models(session, values)


async def list_since(session: Session, begin: datetime, *, limit: int) -> Rows[PlannerEvent]:
    """Return at most `limit` events that take place after `begin`, the earliest first."""
    query = select(PlannerEvent).where(_lasts_into(begin, begin - LONGEST))
    return [*await session.scalars(query.order_by(PlannerEvent.start_date, PlannerEvent.id).limit(limit))]


async def version_since(session: Session, begin: datetime) -> tuple[int, datetime | None]:
    """Return how many events `list_since` could return, and when one of them last changed: two numbers that
    are the same only while these events are.
    """
    query = select(func.count(), func.max(PlannerEvent.updated_at)).where(_lasts_into(begin, begin - LONGEST))
    count, latest = (await session.execute(query)).one()
    return count, latest


async def count_series(session: Session) -> int:
    """Return how many of the user's events recur."""
    query = select(func.count()).select_from(PlannerEvent).where(PlannerEvent.recurrence.is_not(None))
    return await session.scalar(query) or 0


async def find_by_uids(session: Session, uids: Sequence[str]) -> dict[str, PlannerEvent]:
    """Return those of the user's events that have one of these UIDs, by it, locked until the transaction
    ends.
    """
    query = select(PlannerEvent).where(PlannerEvent.uid.in_(uids)).order_by(PlannerEvent.id)
    return {row.uid: row for row in await session.scalars(query.with_for_update())}


async def delete(session: Session, event_id: UUID) -> bool:
    """Delete the event; False when there is no such event."""
    return await changed(session, sql_delete(PlannerEvent).where(PlannerEvent.id == event_id)) == 1


async def emit_due_reminders(session: Session, until: datetime, *, limit: int) -> Rows[Emitted]:
    """Make notifications of at most `limit` reminders that are due by `until`, of all users; works for
    nobody's session. Their events have no next reminder until `schedule_reminders`, and stay locked until the
    transaction ends.
    """
    query = text("SELECT * FROM planner.emit_due_reminders(:until, :max_events)")
    found = await session.execute(query, {"until": until, "max_events": limit})
    return [Emitted(**row) for row in found.mappings()]


async def schedule_reminders(session: Session, reminders: Sequence[NextReminder]) -> None:
    """Set the next reminders of events that have none, of all users; works for nobody's session."""
    query = text("SELECT planner.schedule_reminders(:events, :due_at, :starts_at)")
    values = {
        "events": [one.event_id for one in reminders],
        "due_at": [one.due_at for one in reminders],
        "starts_at": [one.starts_at for one in reminders],
    }
    await session.execute(query, values)


@cache
def _page(later: bool, *filters: str) -> ReadQuery:
    query = select(PlannerEvent).where(*_filters(filters))
    return newest_page(query, PlannerEvent.created_at, PlannerEvent.id, later=later)


@cache
def _between(*filters: str) -> ReadQuery:
    moment = PlannerEvent.start_date.type
    begin, earliest, end = (bindparam(name, type_=moment) for name in ("begin", "earliest", "end"))
    query = select(PlannerEvent).where(
        _lasts_into(begin, earliest), PlannerEvent.start_date < end, *_filters(filters)
    )
    query = query.order_by(PlannerEvent.start_date, PlannerEvent.id)
    return ReadQuery(query.limit(bindparam("limit", type_=Integer())))


def _given(**filters: Any) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


def _filters(names: Sequence[str]) -> Rows[ColumnElement[bool]]:
    """Compare columns with parameters of the same names."""
    return [getattr(PlannerEvent, name) == bindparam(name) for name in names]


def _lasts_into(begin: Any, earliest: Any) -> ColumnElement[bool]:
    """Say what may take place after `begin`, when nothing that began before `earliest` lasts that long."""
    single = and_(
        PlannerEvent.recurrence.is_(None),
        PlannerEvent.start_date >= earliest,
        PlannerEvent.end_date >= begin,
    )
    series = and_(
        PlannerEvent.recurrence.is_not(None),
        or_(PlannerEvent.repeats_until.is_(None), PlannerEvent.repeats_until >= earliest),
    )
    return or_(single, series)

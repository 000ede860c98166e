"""Events of the planner, and the queue of their reminders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Uuid, and_, bindparam, func, or_, select, text, tuple_, update
from sqlalchemy import delete as sql_delete

from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.db.reads import ByKey, ReadQuery
from little_monster.db.repositories.rows import (
    After,
    Rows,
    change,
    changed,
    insert,
    insert_all,
    newest_page,
    page_values,
)
from little_monster.db.session import Database, Session, Source

LONGEST = timedelta(days=366)
"""How long an event lasts at most: the index by start then finds all that last into a range."""

# The UID of a series in that of an event which stands for one of its occurrences.
_OF_SERIES = "^(.*)/[0-9]{8}T[0-9]{6}$"

_BY_ID = ByKey(PlannerEvent)


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event whose reminder `due_at` of the start `starts_at` was taken, and what its next one is computed
    of. It was not `told` when the start is long past.
    """

    event_id: UUID
    due_at: datetime
    starts_at: datetime
    told: bool
    start_date: datetime
    end_date: datetime
    time_zone: str
    all_day: bool
    recurrence: str | None
    exdates: Sequence[datetime]
    repeats_until: datetime | None
    reminder_minutes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many events a user has, and how many of them recur."""

    events: int
    series: int


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
    """Insert many events. Raises as `create`."""
    await insert_all(session, rows)


async def get(session: Session, event_id: UUID, *, for_update: bool = False) -> PlannerEvent | None:
    """Return the event, locked until the transaction ends if asked; None also for somebody else's."""
    return await session.get(PlannerEvent, event_id, with_for_update=for_update)


async def read(database: Database, owner: UUID, event_id: UUID, *, fresh: bool) -> PlannerEvent | None:
    """Return the event as `get` does, in a transaction of its own."""
    return await database.read(owner, _BY_ID, event_id, fresh=fresh)


async def save(session: Session, row: PlannerEvent, values: Mapping[str, Any]) -> PlannerEvent:
    """Write other columns of a locked event, and read back what the database filled in."""
    await change(session, row, values)
    return row


async def save_all(session: Session, changes: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Write other columns of many locked events, by their ids, in one statement for each set of columns. The
    rows that are loaded stay as they are.
    """
    by_columns: dict[frozenset[str], Rows[Mapping[str, Any]]] = {}
    for event_id, values in changes.items():
        by_columns.setdefault(frozenset(values), []).append({**values, "id": event_id})
    for rows in by_columns.values():
        await session.execute(update(PlannerEvent), rows)


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


async def list_single(
    session: Source,
    begin: datetime,
    end: datetime,
    *,
    limit: int,
    after: After = None,
    type: EventType | None = None,
    subject: Subject | None = None,
    completed: bool | None = None,
) -> Rows[PlannerEvent]:
    """Return at most `limit` events that do not recur and take place between `begin` and `end`, the earliest
    first, behind `after`, which is a start and an id.
    """
    wanted = _given(type=type, subject=subject, is_completed=completed)
    values = page_values(limit, after, begin=begin, earliest=begin - LONGEST, end=end, **wanted)
    return await _single(after is not None, *wanted).models(session, values)


async def list_series(
    session: Source,
    begin: datetime,
    end: datetime,
    *,
    type: EventType | None = None,
    subject: Subject | None = None,
    completed: bool | None = None,
) -> Rows[PlannerEvent]:
    """Return the events that recur, have begun by `end`, and may not be over at `begin`."""
    wanted = _given(type=type, subject=subject, is_completed=completed)
    values = {"earliest": begin - LONGEST, "end": end, **wanted}
    return await _series(*wanted).models(session, values)


async def list_since(session: Session, begin: datetime) -> Rows[PlannerEvent]:
    """Return the events that take place after `begin`, the earliest first."""
    query = select(PlannerEvent).where(_takes_place_after(begin))
    return [*await session.scalars(query.order_by(PlannerEvent.start_date, PlannerEvent.id))]


async def version_since(session: Session, begin: datetime) -> str:
    """Return a text that is another one whenever what `list_since` returns is.

    The latest `updated_at` would not do: it is when a transaction began, and one may end after others that
    began later.
    """
    key = tuple_(PlannerEvent.id, PlannerEvent.updated_at)
    found = func.sum(func.hash_record_extended(key, 0))
    query = select(func.count(), found).where(_takes_place_after(begin))
    count, total = (await session.execute(query)).one()
    return f"{count}-{total or 0}"


async def count(session: Session) -> Counts:
    """Return how many events the user has."""
    series = func.count().filter(PlannerEvent.recurrence.is_not(None))
    return Counts(*(await session.execute(select(func.count(), series).select_from(PlannerEvent))).one())


async def find_by_uids(session: Session, uids: Sequence[str]) -> dict[str, PlannerEvent]:
    """Return those of the user's events that have one of these UIDs, or stand for an occurrence of a series
    that has, by UID, locked until the transaction ends.
    """
    series = func.substring(PlannerEvent.uid, _OF_SERIES)
    query = select(PlannerEvent).where(or_(PlannerEvent.uid.in_(uids), series.in_(uids)))
    query = query.order_by(PlannerEvent.id)
    return {row.uid: row for row in await session.scalars(query.with_for_update())}


async def delete(session: Session, event_id: UUID) -> bool:
    """Delete the event; False when there is no such event."""
    return await changed(session, sql_delete(PlannerEvent).where(PlannerEvent.id == event_id)) == 1


async def delete_all(session: Session, event_ids: Sequence[UUID]) -> None:
    """Delete these events."""
    if event_ids:
        await changed(session, sql_delete(PlannerEvent).where(PlannerEvent.id.in_(event_ids)))


async def emit_due_reminders(session: Session, until: datetime, *, limit: int) -> Rows[Emitted]:
    """Make notifications of at most `limit` reminders that are due by `until`, of all users, but for what
    began long before; works for nobody's session. Their events have no next reminder until
    `schedule_reminders`, and stay locked until the transaction ends.
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
def _single(later: bool, *filters: str) -> ReadQuery:
    begin, earliest, end, seen = (
        bindparam(name, type_=PlannerEvent.start_date.type)
        for name in ("begin", "earliest", "end", "seen_at")
    )
    query = select(PlannerEvent).where(_single_into(begin, earliest), PlannerEvent.start_date < end)
    place = tuple_(PlannerEvent.start_date, PlannerEvent.id)
    if later:
        query = query.where(place > tuple_(seen, bindparam("seen_id", type_=Uuid())))
    query = query.where(*_filters(filters)).order_by(PlannerEvent.start_date, PlannerEvent.id)
    return ReadQuery(query.limit(bindparam("limit", type_=Integer())))


@cache
def _series(*filters: str) -> ReadQuery:
    earliest, end = (bindparam(name, type_=PlannerEvent.start_date.type) for name in ("earliest", "end"))
    query = select(PlannerEvent).where(_series_into(earliest), PlannerEvent.start_date < end)
    return ReadQuery(query.where(*_filters(filters)))


def _given(**filters: Any) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


def _filters(names: Sequence[str]) -> Rows[ColumnElement[bool]]:
    """Compare columns with parameters of the same names."""
    return [getattr(PlannerEvent, name) == bindparam(name) for name in names]


def _takes_place_after(begin: datetime) -> ColumnElement[bool]:
    return or_(_single_into(begin, begin - LONGEST), _series_into(begin - LONGEST))


def _single_into(begin: Any, earliest: Any) -> ColumnElement[bool]:
    """Say which events that do not recur end after `begin`, when those from before `earliest` do not."""
    return and_(
        PlannerEvent.recurrence.is_(None),
        PlannerEvent.start_date >= earliest,
        PlannerEvent.end_date >= begin,
    )


def _series_into(earliest: Any) -> ColumnElement[bool]:
    return and_(
        PlannerEvent.recurrence.is_not(None),
        or_(PlannerEvent.repeats_until.is_(None), PlannerEvent.repeats_until >= earliest),
    )

"""The planner's events: plan, list, read, change, delete."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.db.repositories import planner_events
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, InvalidInput, NotFound
from little_monster.platform.services.planner.drafts import BadEvent, Draft, settle
from little_monster.platform.services.planner.occurrences import Occurrence, Series
from little_monster.platform.services.planner.rules import FIRST_YEAR, LAST_YEAR

MAX_RANGE = timedelta(days=366)
MAX_OCCURRENCES = 2_000
MAX_SERIES = 500

# Reading more series than this in one go would hold up other requests.
_SERIES_AT_ONCE = 50

After = tuple[datetime, UUID] | None
# What changes a calendar entry for those who have a copy of it, and so its SEQUENCE.
_OWN = frozenset({"is_completed", "repeats_until", "next_reminder_at", "next_reminder_for"})


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are wanted; None: whatever it is."""

    type: EventType | None = None
    subject: Subject | None = None
    completed: bool | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """An event, and one of the times that it takes place."""

    event: PlannerEvent
    occurrence: Occurrence


async def create_event(database: Database, owner: UUID, draft: Draft) -> PlannerEvent:
    """Plan an event.

    Raises:
        InvalidInput: a field breaks a rule.
        Conflict: the user has too many events that recur.
    """
    values = _settled(draft)
    event_id = new_id()
    async with database.session(owner) as session:
        if values["recurrence"]:
            await require_room(session, 1)
        return await planner_events.create(
            session, event_id=event_id, user_id=owner, uid=new_uid(event_id), **values
        )


async def list_events(
    database: Database, owner: UUID, filters: Filters, *, limit: int, after: After
) -> list[PlannerEvent]:
    """Return at most `limit` events, newest first, behind `after`."""
    find = partial(
        planner_events.list,
        limit=limit,
        after=after,
        type=filters.type,
        subject=filters.subject,
        completed=filters.completed,
    )
    return await database.fetch(owner, find)


async def list_planned(
    database: Database, owner: UUID, filters: Filters, *, begin: datetime, end: datetime
) -> list[Planned]:
    """Return what takes place between `begin` and `end`, the earliest first; a series once for each time.

    Raises:
        InvalidInput: the range is empty or too long, or holds too much.
    """
    if not (begin.year > FIRST_YEAR and end.year < LAST_YEAR):
        raise _bad_range(f"must be between {FIRST_YEAR + 1} and {LAST_YEAR - 1}")
    if not timedelta() < end - begin <= MAX_RANGE:
        raise _bad_range(f"must end after it begins, and at most {MAX_RANGE.days} days later")
    find = partial(
        planner_events.list_between,
        begin=begin,
        end=end,
        limit=MAX_OCCURRENCES + 1,
        type=filters.type,
        subject=filters.subject,
        completed=filters.completed,
    )
    rows = await database.fetch(owner, find)
    if sum(row.recurrence is not None for row in rows) > _SERIES_AT_ONCE:
        planned = await asyncio.to_thread(_expand, rows, begin, end)
    else:
        planned = _expand(rows, begin, end)
    if len(rows) > MAX_OCCURRENCES or len(planned) > MAX_OCCURRENCES:
        raise _bad_range(f"holds more than {MAX_OCCURRENCES} events: ask for a shorter one")
    return planned


async def read_event(database: Database, owner: UUID, event_id: UUID) -> PlannerEvent:
    """Return the event.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    event = await planner_events.read(database, owner, event_id, fresh=False)
    if event is None:
        raise no_event()
    return event


async def update_event(
    database: Database,
    owner: UUID,
    event_id: UUID,
    changes: Mapping[str, Any],
    *,
    check: Callable[[PlannerEvent], None],
) -> PlannerEvent:
    """Change fields of the event's draft.

    Args:
        check: raises when this is not the version that the caller means to change.

    Raises:
        NotFound: there is no such event, or it is somebody else's.
        PreconditionFailed: by `check`.
        InvalidInput: it would break a rule.
        Conflict: the user has too many events that recur.
    """
    async with database.session(owner) as session:
        event = await _get(session, event_id, check)
        values = _settled(replace(Draft.of(event), **changes))
        if values["recurrence"] and not event.recurrence:
            await require_room(session, 1)
        return await planner_events.save(session, revise(event, values))


async def delete_event(
    database: Database, owner: UUID, event_id: UUID, *, check: Callable[[PlannerEvent], None]
) -> None:
    """Delete the event, all its occurrences. Raises as `update_event`."""
    async with database.session(owner) as session:
        await _get(session, event_id, check)
        await planner_events.delete(session, event_id)


def revise(event: PlannerEvent, values: Mapping[str, Any]) -> PlannerEvent:
    """Set those columns of an event that differ, and its next SEQUENCE when a calendar has to show them."""
    changed = {name for name, value in values.items() if getattr(event, name) != value}
    for name in changed:
        setattr(event, name, values[name])
    if changed - _OWN:
        event.sequence += 1
    return event


async def require_room(session: Session, new: int) -> None:
    """Return when the user may have `new` more events that recur.

    Raises:
        Conflict: there are enough.
    """
    if await planner_events.count_series(session) + new > MAX_SERIES:
        raise too_many_series()


def too_many_series() -> Conflict:
    """Return the error for more events that recur than a user may have."""
    return Conflict(f"More than {MAX_SERIES} events would recur.", code="too_many_series")


def new_uid(event_id: UUID) -> str:
    """Return the UID (RFC 5545, section 3.8.4.7) of an event that is made here; it stays as it is."""
    return f"{event_id}@little-monster"


def no_event() -> NotFound:
    """Return the error for an event that is not there, or somebody else's."""
    return NotFound("There is no such event.", code="event_not_found")


def _settled(draft: Draft) -> dict[str, Any]:
    try:
        return settle(draft, datetime.now(UTC))
    except BadEvent as error:
        raise error.problem() from None


async def _get(session: Session, event_id: UUID, check: Callable[[PlannerEvent], None]) -> PlannerEvent:
    event = await planner_events.get(session, event_id, for_update=True)
    if event is None:
        raise no_event()
    check(event)
    return event


def _expand(rows: Sequence[PlannerEvent], begin: datetime, end: datetime) -> list[Planned]:
    """Return all occurrences of a range in order; when there are too many, more than `MAX_OCCURRENCES`."""
    planned: list[Planned] = []
    for row in rows:
        planned += (Planned(row, one) for one in Series.of(row).between(begin, end))
        if len(planned) > MAX_OCCURRENCES:
            break
    return sorted(planned, key=lambda one: (one.occurrence.start, one.event.id))


def _bad_range(message: str) -> InvalidInput:
    return InvalidInput(
        f"The range {message}.",
        code="invalid_range",
        errors=[{"field": "query.to", "message": message}],
    )

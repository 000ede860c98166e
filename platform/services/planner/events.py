"""The planner's events: plan, list, read, change, delete."""

import asyncio
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.db.repositories import planner_events, users
from little_monster.db.session import Database, Session, Source
from little_monster.platform.errors import Conflict, InvalidInput, NotFound
from little_monster.platform.services.planner.drafts import BadEvent, Draft, settle
from little_monster.platform.services.planner.occurrences import Occurrence, Series
from little_monster.platform.services.planner.rules import FIRST_YEAR, LAST_YEAR

MAX_RANGE = timedelta(days=366)
MAX_EVENTS = 5_000
"""How many a user may have: a calendar feed shows them all."""
MAX_SERIES = 500

# Reading more series than this in one go would hold up other requests.
_SERIES_AT_ONCE = 50

After = tuple[datetime, UUID] | None
# What changes without those who have a copy of the calendar entry seeing it, and so without its SEQUENCE.
_OWN = frozenset({"is_completed", "repeats_until", "next_reminder_at", "next_reminder_for"})
# What the next reminder is computed of.
_REMINDING = frozenset(
    {"start_date", "time_zone", "all_day", "is_completed", "recurrence", "exdates", "reminder_minutes"}
)


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

    @property
    def position(self) -> tuple[datetime, UUID]:
        """Where it stands in the order of what takes place."""
        return self.occurrence.start, self.event.id


async def create_event(database: Database, owner: UUID, draft: Draft) -> PlannerEvent:
    """Plan an event.

    Raises:
        InvalidInput: a field breaks a rule.
        Conflict: the user has too many events, or too many that recur.
    """
    values = _settled(draft)
    event_id = new_id()
    async with database.session(owner) as session:
        await users.lock(session, owner)
        await require_room(session, events=1, series=int(bool(values["recurrence"])))
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
    database: Database,
    owner: UUID,
    filters: Filters,
    *,
    begin: datetime,
    end: datetime,
    limit: int,
    after: After,
) -> Sequence[Planned]:
    """Return at most `limit` of the times at which something takes place between `begin` and `end`, the
    earliest first, behind `after`, which is a start and an event: a series comes once for each time.

    Raises:
        InvalidInput: the range is empty or too long.
    """
    if not (begin.year > FIRST_YEAR and end.year < LAST_YEAR):
        raise _bad_range(f"must be between {FIRST_YEAR + 1} and {LAST_YEAR - 1}")
    if not timedelta() < end - begin <= MAX_RANGE:
        raise _bad_range(f"must end after it begins, and at most {MAX_RANGE.days} days later")
    if after is not None:
        begin = max(begin, after[0])
    given: dict[str, Any] = {"type": filters.type, "subject": filters.subject, "completed": filters.completed}

    async def find(source: Source) -> tuple[list[PlannerEvent], list[PlannerEvent]]:
        single = await planner_events.list_single(source, begin, end, limit=limit, after=after, **given)
        return single, await planner_events.list_series(source, begin, end, **given)

    single, series = await database.fetch(owner, find)

    def first() -> Sequence[Planned]:
        times = _times([*single, *series], begin, end)
        return [*islice((one for one in times if after is None or one.position > after), limit)]

    return first() if len(series) <= _SERIES_AT_ONCE else await asyncio.to_thread(first)


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
        if changes.get("recurrence"):
            # Before the event, as all who lock both do.
            await users.lock(session, owner)
        event = await _get(session, event_id, check)
        values = _settled(replace(Draft.of(event), **changes))
        if values["recurrence"] and not event.recurrence:
            await require_room(session, series=1)
        changed = differences(event, values)
        if is_shown(changed):
            changed["sequence"] = event.sequence + 1
        return await planner_events.save(session, event, changed)


async def delete_event(
    database: Database, owner: UUID, event_id: UUID, *, check: Callable[[PlannerEvent], None]
) -> None:
    """Delete the event, all its occurrences. Raises as `update_event`."""
    async with database.session(owner) as session:
        await _get(session, event_id, check)
        await planner_events.delete(session, event_id)


def differences(event: PlannerEvent, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the columns that are others than the event's."""
    changed = {name: value for name, value in values.items() if getattr(event, name) != value}
    if event.next_reminder_at is not None and not changed.keys() & _REMINDING:
        # `settle` looks for what is due from now on, and would leave out what nobody came by to tell yet.
        changed.pop("next_reminder_at", None)
        changed.pop("next_reminder_for", None)
    return changed


def is_shown(changed: Mapping[str, Any]) -> bool:
    """Say whether those who have a copy of an event's calendar entry see that these columns change."""
    return bool(changed.keys() - _OWN)


async def require_room(session: Session, *, events: int = 0, series: int = 0) -> None:
    """Return when the user, who is locked, may have so many more events, and more that recur.

    Raises:
        Conflict: there are enough.
    """
    found = await planner_events.count(session)
    if events and found.events + events > MAX_EVENTS:
        raise Conflict(f"There would be more than {MAX_EVENTS} events: delete some.", code="too_many_events")
    if series and found.series + series > MAX_SERIES:
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


def _times(rows: Sequence[PlannerEvent], begin: datetime, end: datetime) -> Iterator[Planned]:
    """Yield the times of a range in order; none is looked for before it is asked for."""
    return heapq.merge(*(_times_of(row, begin, end) for row in rows), key=lambda one: one.position)


def _times_of(row: PlannerEvent, begin: datetime, end: datetime) -> Iterator[Planned]:
    for one in Series.of(row).between(begin, end):
        yield Planned(row, one)


def _bad_range(message: str) -> InvalidInput:
    return InvalidInput(
        f"The range {message}.",
        code="invalid_range",
        errors=[{"field": "query.to", "message": message}],
    )

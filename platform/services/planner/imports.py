"""Calendar files into the planner: all of a file or nothing."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.repositories import planner_events
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, FieldProblem, InvalidInput
from little_monster.platform.services.planner.drafts import BadEvent, settle
from little_monster.platform.services.planner.entries import Entry, read_entry, zone_of
from little_monster.platform.services.planner.events import MAX_SERIES, require_room, revise, too_many_series
from little_monster.platform.services.planner.ics import BadCalendar, Component, read_calendars
from little_monster.platform.services.planner.quotes import quoted
from little_monster.platform.services.planner.zones import is_zone

MAX_BYTES = 2**20
MAX_ENTRIES = 1_000
MAX_ERRORS = 100
MAX_UID_CHARS_SHOWN = 80

_ENTRY = "VEVENT"


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file. `ignored` are entries that are no events, or are cancelled."""

    created: int
    updated: int
    unchanged: int
    ignored: int


async def import_calendar(database: Database, owner: UUID, content: bytes, *, time_zone: str) -> Imported:
    """Store the events of a calendar file; those whose UID is there are changed into what the file says.

    An entry that stands for one occurrence of a series becomes an event of its own, and that occurrence is
    left out of the series.

    Args:
        time_zone: of times and days without one, when the file does not name it.

    Raises:
        InvalidInput: it is no calendar, or has entries that cannot be kept: `errors` says which and why.
        Conflict: too many events would recur, or another import stores the same events.
    """
    if not is_zone(time_zone):
        raise BadEvent("time_zone", "is not the name of a time zone, as Europe/Berlin").problem("query")
    # A thread, as a large file takes seconds.
    file = await asyncio.to_thread(_read, content, time_zone)
    try:
        async with database.session(owner) as session:
            return await _store(session, owner, file)
    except DuplicateKey:
        raise Conflict("Another request stored the same events meanwhile. Try again.") from None


@dataclass(frozen=True, slots=True)
class _File:
    """The events of a file and their columns, both by UID, and how many other entries it has."""

    entries: Mapping[str, Entry]
    columns: Mapping[str, Mapping[str, Any]]
    ignored: int


def _read(content: bytes, time_zone: str) -> _File:
    try:
        calendars = read_calendars(content)
    except BadCalendar as error:
        raise InvalidInput(str(error), code="malformed_calendar") from None
    found = [(one, zone_of(outer) or time_zone) for outer in calendars for one in outer.components]
    events = [(one, zone) for one, zone in found if one.name == _ENTRY]
    if len(events) > MAX_ENTRIES:
        raise InvalidInput(f"The file has more than {MAX_ENTRIES} events.", code="too_many_events")
    if sum(one.first("RRULE") is not None for one, _ in events) > MAX_SERIES:
        raise too_many_series()
    errors: list[FieldProblem] = []
    read = [*_entries(events, errors)]
    errors += _repeated(read)
    entries = _by_uid(read)
    columns = {uid: values for uid, entry in entries.items() if (values := _columns(entry, errors))}
    if errors:
        raise _refused(errors)
    others = sum(one.name not in (_ENTRY, "VTIMEZONE") for one, _ in found)
    return _File(entries, columns, others + sum(one.cancelled for one in read))


def _entries(events: Sequence[tuple[Component, str]], errors: list[FieldProblem]) -> Iterator[Entry]:
    """Yield the entries that can be read, and add why others cannot."""
    for number, (component, zone) in enumerate(events):
        try:
            yield read_entry(component, zone, number)
        except BadEvent as error:
            errors.append(_problem(number, component.text("UID"), error))


def _columns(entry: Entry, errors: list[FieldProblem]) -> Mapping[str, Any] | None:
    # Of so many no more are shown.
    if len(errors) >= MAX_ERRORS:
        return None
    try:
        return settle(entry.draft, datetime.now(UTC))
    except BadEvent as error:
        errors.append(_problem(entry.number, entry.uid, error))
        return None


def _problem(number: int, uid: str, error: BadEvent) -> FieldProblem:
    return {
        "field": f"events.{number}.{error.field}",
        "message": f"UID {quoted(uid, MAX_UID_CHARS_SHOWN)}: {error.message}",
    }


def _repeated(entries: Sequence[Entry]) -> Iterator[FieldProblem]:
    seen = set()
    for one in entries:
        if (one.uid, one.replaces) in seen:
            yield _problem(one.number, one.uid, BadEvent("UID", "stands there twice"))
        seen.add((one.uid, one.replaces))


def _refused(errors: Sequence[FieldProblem]) -> InvalidInput:
    return InvalidInput(
        "Some events cannot be imported, so none was; `errors` says which and why.",
        code="invalid_events",
        errors=errors[:MAX_ERRORS],
    )


def _by_uid(entries: Sequence[Entry]) -> Mapping[str, Entry]:
    """Return the entries to store by the UIDs that they get."""
    whole = {one.uid: one for one in entries if one.replaces is None and not one.cancelled}
    for one in entries:
        if one.replaces is not None and one.uid in whole:
            whole[one.uid] = whole[one.uid].without(one.replaces)
    single = {_own_uid(one): one for one in entries if one.replaces is not None and not one.cancelled}
    return {**whole, **single}


def _own_uid(entry: Entry) -> str:
    return f"{entry.uid}/{entry.replaces:%Y%m%dT%H%M%S}"


async def _store(session: Session, owner: UUID, file: _File) -> Imported:
    known = await planner_events.find_by_uids(session, [*file.entries])
    columns = {uid: _kept(file, uid, known.get(uid)) for uid in file.entries}
    recurring = [uid for uid in columns if columns[uid]["recurrence"] and not _recurs(known.get(uid))]
    if recurring:
        await require_room(session, len(recurring))
    fresh = [_row(owner, file.entries[uid], uid, columns[uid]) for uid in columns if uid not in known]
    changed = [_change(row, file.entries[uid], columns[uid]) for uid, row in known.items()]
    await planner_events.create_all(session, fresh)
    return Imported(len(fresh), sum(changed), len(known) - sum(changed), file.ignored)


def _kept(file: _File, uid: str, known: PlannerEvent | None) -> Mapping[str, Any]:
    """Return an event's columns. What a file cannot say stays as it is: that it is done, and where its days
    are.
    """
    draft = file.entries[uid].draft
    if known is None or not (known.is_completed or (known.all_day and draft.all_day)):
        return file.columns[uid]
    zone = known.time_zone if draft.all_day else draft.time_zone
    draft = replace(draft, is_completed=known.is_completed, time_zone=zone)
    try:
        return settle(draft, datetime.now(UTC))
    except BadEvent as error:
        raise _refused([_problem(file.entries[uid].number, uid, error)]) from None


def _recurs(known: PlannerEvent | None) -> bool:
    return known is not None and known.recurrence is not None


def _row(owner: UUID, entry: Entry, uid: str, columns: Mapping[str, Any]) -> PlannerEvent:
    return PlannerEvent(id=new_id(), user_id=owner, uid=uid, sequence=entry.sequence, **columns)


def _change(row: PlannerEvent, entry: Entry, columns: Mapping[str, Any]) -> bool:
    """Make the row what the file says; say whether a calendar has to show it."""
    before = row.sequence
    revise(row, columns)
    row.sequence = max(row.sequence, entry.sequence)
    return row.sequence != before

"""Calendar files into the planner: all of a file or nothing."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.repositories import planner_events, users
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, FieldProblem, InvalidInput
from little_monster.platform.services.planner.drafts import BadEvent, settle
from little_monster.platform.services.planner.entries import Entry, read_entry, zone_of
from little_monster.platform.services.planner.events import MAX_SERIES, require_room, too_many_series
from little_monster.platform.services.planner.ics import BadCalendar, Component, read_calendars
from little_monster.platform.services.planner.merges import BadEntry, File, merge, without_replaced
from little_monster.platform.services.planner.quotes import quoted
from little_monster.platform.services.planner.zones import is_zone

MAX_BYTES = 2**20
MAX_ENTRIES = 1_000
MAX_ERRORS = 100
MAX_UID_CHARS_SHOWN = 80

_ENTRY = "VEVENT"


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file. `ignored` are entries that are no events, are cancelled, or are older than what is
    there.
    """

    created: int
    updated: int
    unchanged: int
    deleted: int
    ignored: int


async def import_calendar(database: Database, owner: UUID, content: bytes, *, time_zone: str) -> Imported:
    """Store the events of a calendar file; those whose UID is there are changed into what the file says.

    An entry that stands for one occurrence of a series becomes an event of its own, and that occurrence is
    left out of the series, in the file or stored. An event that the file cancels is deleted, and so is one
    that stood for an occurrence of a series which the file has without it.

    Args:
        time_zone: of times and days without one, when the file does not name it.

    Raises:
        InvalidInput: it is no calendar, or has entries that cannot be kept: `errors` says which and why.
        Conflict: there would be too many events, or another request stores the same ones.
    """
    if not is_zone(time_zone):
        raise BadEvent("time_zone", "is not the name of a time zone, as Europe/Berlin").problem("query")
    # A thread, as a large file takes seconds.
    file = await asyncio.to_thread(_read, content, time_zone)
    try:
        async with database.session(owner) as session:
            return await _store(session, owner, *file)
    except BadEntry as refused:
        raise _refused([_problem(refused.entry.number, refused.entry.uid, refused.error)]) from None
    except DuplicateKey:
        raise Conflict("Another request stored the same events meanwhile. Try again.") from None


def _read(content: bytes, time_zone: str) -> tuple[File, int]:
    """Return the events of a file, and how many other things stand in it."""
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
    entries = without_replaced(read)
    kept = (one for one in entries if not one.cancelled)
    columns = {one.number: values for one in kept if (values := _columns(one, errors))}
    if errors:
        raise _refused(errors)
    return File(entries, columns), sum(one.name not in (_ENTRY, "VTIMEZONE") for one, _ in found)


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


async def _store(session: Session, owner: UUID, file: File, others: int) -> Imported:
    await users.lock(session, owner)
    uids = {one.uid for one in file.entries}
    found = merge(file, await planner_events.find_by_uids(session, [*uids]))
    await planner_events.delete_all(session, found.gone)
    await require_room(session, events=len(found.fresh), series=found.more_series)
    fresh = [
        PlannerEvent(id=new_id(), user_id=owner, uid=uid, **values) for uid, values in found.fresh.items()
    ]
    await planner_events.create_all(session, fresh)
    await planner_events.save_all(session, found.changed)
    return Imported(len(fresh), found.updated, found.unchanged, len(found.gone), found.ignored + others)

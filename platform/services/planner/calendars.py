"""A planner as an iCalendar file (RFC 5545)."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Alarm, Calendar, Event, Timezone, vRecur

from little_monster.db.models.planner_events import PlannerEvent
from little_monster.platform.services.planner.rules import LAST_YEAR
from little_monster.platform.services.planner.texts import without_controls
from little_monster.platform.services.planner.zones import to_utc, to_wall

PRODUCT = "-//Little Monster//Planner//EN"
FORMAT = 2
"""Rises when the same events give another file."""

_UTC = "UTC"
# Changes of the clocks are listed one by one: 2 KB, of a time zone with summer time, and 8 KB.
_SOON, _END = date(2038, 1, 1), date(LAST_YEAR + 1, 1, 1)


async def render_in_thread(events: Sequence[PlannerEvent]) -> bytes:
    """Return the file of these events; thousands of them take a second or two."""
    return await asyncio.to_thread(render_calendar, events)


def render_calendar(events: Iterable[PlannerEvent]) -> bytes:
    """Return the file of these events, with the time zones that they name."""
    rows = [*events]
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("x-wr-calname", "Little Monster")
    for zone in _time_zones(rows):
        calendar.add_component(zone)
    for row in rows:
        for event in _events(row):
            calendar.add_component(event)
    return bytes(calendar.to_ical())


def _time_zones(rows: Sequence[PlannerEvent]) -> Iterator[Timezone]:
    """Yield the time zones that the events name, each until the last of them is over."""
    lasts: dict[str, date] = {}
    for row in rows:
        if not row.all_day and row.time_zone != _UTC:
            lasts[row.time_zone] = max(lasts.get(row.time_zone, _SOON), _known_until(row))
    for name in sorted(lasts):
        yield _time_zone(name, lasts[name])


def _known_until(row: PlannerEvent) -> date:
    last = row.repeats_until if row.recurrence else row.start_date
    soon = last is not None and last + (row.end_date - row.start_date) < datetime(2037, 12, 1, tzinfo=UTC)
    return _SOON if soon else _END


@lru_cache(256)
def _time_zone(name: str, last: date) -> Timezone:
    # Finding its changes takes tens of milliseconds.
    return Timezone.from_tzid(name, last_date=last)


def _events(row: PlannerEvent) -> Iterator[Event]:
    """Yield the entry of an event, and one for the first time of a series that cannot be said there.

    A clock time that comes twice is the first of the two (section 3.3.5); the second has a name in UTC alone,
    in which a series would not keep its clock time.
    """
    begin = row.start_date
    if row.recurrence and not row.all_day:
        zone = ZoneInfo(row.time_zone)
        begin = to_utc(to_wall(row.start_date, zone), zone)
    yield _event(row, [*_times(row, begin), *_repeats(row, begin)])
    if begin != row.start_date and row.start_date not in row.exdates:
        yield _event(row, [*_times(row, row.start_date), ("recurrence-id", _time(row, begin))])


def _event(row: PlannerEvent, times: Iterable[tuple[str, Any]]) -> Event:
    event = Event()
    for name, value in (*_properties(row), *times):
        event.add(name, value)
    for minutes in row.reminder_minutes:
        event.add_component(_alarm(row, minutes))
    return event


def _properties(row: PlannerEvent) -> Iterator[tuple[str, Any]]:
    # No METHOD is given: DTSTAMP is then when the entry last changed (section 3.8.7.2).
    changed = row.updated_at.replace(microsecond=0)
    yield "uid", without_controls(row.uid)
    yield "dtstamp", changed
    yield "last-modified", changed
    yield "created", row.created_at.replace(microsecond=0)
    yield "sequence", row.sequence
    yield "summary", without_controls(row.title)
    yield "categories", [row.type.value, *([row.subject.value] if row.subject else [])]
    if row.description:
        yield "description", without_controls(row.description)
    if row.location:
        yield "location", without_controls(row.location)


def _times(row: PlannerEvent, begin: datetime) -> Iterator[tuple[str, Any]]:
    yield "dtstart", _time(row, begin)
    # An end must be later (section 3.8.2.2).
    if row.end_date > row.start_date:
        yield "dtend", _time(row, begin + (row.end_date - row.start_date))


def _repeats(row: PlannerEvent, begin: datetime) -> Iterator[tuple[str, Any]]:
    if row.recurrence:
        yield "rrule", vRecur.from_ical(row.recurrence)
    for moment in row.exdates:
        yield "exdate", _time(row, begin if moment == row.start_date else moment)


def _time(row: PlannerEvent, moment: datetime) -> date | datetime:
    zone = ZoneInfo(row.time_zone)
    if row.all_day:
        return to_wall(moment, zone).date()
    local = moment.astimezone(zone)
    return moment.astimezone(UTC) if row.time_zone == _UTC or local.fold else local


def _alarm(row: PlannerEvent, minutes: int) -> Alarm:
    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", without_controls(row.title))
    alarm.add("trigger", -timedelta(minutes=minutes))
    return alarm

"""A planner as an iCalendar file (RFC 5545)."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Alarm, Calendar, Event, Timezone, vRecur

from little_monster.db.models.planner_events import PlannerEvent
from little_monster.platform.services.planner.zones import to_wall

PRODUCT = "-//Little Monster//Planner//EN"
FORMAT = 1
"""Rises when the same events give another file."""

_UTC = "UTC"


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
    for name in sorted({row.time_zone for row in rows if not row.all_day} - {_UTC}):
        calendar.add_component(_time_zone(name))
    for row in rows:
        calendar.add_component(_event(row))
    return bytes(calendar.to_ical())


@lru_cache(256)
def _time_zone(name: str) -> Timezone:
    # Finding its changes takes tens of milliseconds.
    return Timezone.from_tzid(name)


def _event(row: PlannerEvent) -> Event:
    event = Event()
    for name, value in _properties(row):
        event.add(name, value)
    for minutes in row.reminder_minutes:
        event.add_component(_alarm(row, minutes))
    return event


def _properties(row: PlannerEvent) -> Iterator[tuple[str, Any]]:
    # No METHOD is given: DTSTAMP is then when the entry last changed (section 3.8.7.2).
    changed = row.updated_at.replace(microsecond=0)
    yield "uid", row.uid
    yield "dtstamp", changed
    yield "last-modified", changed
    yield "created", row.created_at.replace(microsecond=0)
    yield "sequence", row.sequence
    yield "summary", row.title
    yield "dtstart", _time(row, row.start_date)
    yield "dtend", _time(row, row.end_date)
    yield "categories", [row.type.value, *([row.subject.value] if row.subject else [])]
    if row.description:
        yield "description", row.description
    if row.location:
        yield "location", row.location
    if row.recurrence:
        yield "rrule", vRecur.from_ical(row.recurrence)
    for moment in row.exdates:
        yield "exdate", _time(row, moment)


def _time(row: PlannerEvent, moment: datetime) -> date | datetime:
    if row.time_zone == _UTC and not row.all_day:
        return moment.astimezone(UTC)
    zone = ZoneInfo(row.time_zone)
    return to_wall(moment, zone).date() if row.all_day else moment.astimezone(zone)


def _alarm(row: PlannerEvent, minutes: int) -> Alarm:
    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", row.title)
    alarm.add("trigger", -timedelta(minutes=minutes))
    return alarm

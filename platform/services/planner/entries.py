"""What an entry of a calendar file (VEVENT, RFC 5545, section 3.6.1) means as an event of the planner."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from little_monster.db.models.planner_events import EventType
from little_monster.db.models.user_documents import Subject
from little_monster.db.repositories.planner_events import LONGEST
from little_monster.platform.services.planner.drafts import (
    MAX_REMINDER_MINUTES,
    MAX_REMINDERS,
    BadEvent,
    Draft,
)
from little_monster.platform.services.planner.ics import Component, Property
from little_monster.platform.services.planner.rules import FIRST_YEAR, LAST_YEAR, read_date
from little_monster.platform.services.planner.texts import has_controls, without_controls
from little_monster.platform.services.planner.zones import is_zone, to_utc, to_wall

MAX_UID_CHARS = 255
MAX_ZONE_PARTS = 8
MAX_SEQUENCE_DIGITS = 10
UTC_NAME = "UTC"

_UNSUPPORTED = ("RDATE", "EXRULE")
_CANCELLED = "CANCELLED"
_MINUTE = timedelta(minutes=1)
_MANY_DAYS = 2 * LONGEST.days
_DURATION = re.compile(
    r"([+-]?)P(?=[0-9T])(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?"
    r"(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry, the one of this `number` in its file, from 0. `replaces` is the start of the occurrence of
    the series `uid` that it stands for, if it stands for one: a moment, or a day, which has no time zone;
    `cancelled` takes that one, or the whole event, out of the calendar. No `sequence`: the file has none.
    """

    number: int
    uid: str
    draft: Draft
    sequence: int | None
    replaces: datetime | None
    cancelled: bool


@dataclass(frozen=True, slots=True)
class _Time:
    """A moment in UTC with the time zone that it was given in, or the midnight of a day, which has none."""

    value: datetime
    zone: str | None

    @property
    def is_day(self) -> bool:
        return self.zone is None


def read_entry(component: Component, zone: str, number: int) -> Entry:
    """Read an entry; times without a time zone are in `zone`.

    Raises:
        BadEvent: a line of it cannot be read, or says what the planner cannot keep.
    """
    if component.unread:
        raise BadEvent("VEVENT", "has a line that cannot be read")
    for name in _UNSUPPORTED:
        if component.all(name):
            raise BadEvent(name, "is not supported")
    uid = component.text("UID").strip()
    if not uid or len(uid) > MAX_UID_CHARS or has_controls(uid):
        raise BadEvent("UID", f"must have 1 to {MAX_UID_CHARS} characters, and none that control")
    replaces = component.first("RECURRENCE-ID")
    if replaces and "RANGE" in replaces.parameters:
        raise BadEvent("RECURRENCE-ID", "with a RANGE, all that follow, is not supported")
    return Entry(
        number,
        uid,
        _draft(component, zone),
        _sequence(component),
        _times(replaces, zone)[0].value if replaces else None,
        component.text("STATUS").strip().upper() == _CANCELLED,
    )


def zone_of(calendar: Component) -> str | None:
    """Return the time zone that a calendar names for times without one."""
    return _zone_name(calendar.text("X-WR-TIMEZONE"))


def _draft(component: Component, zone: str) -> Draft:
    start = _start(component, zone)
    type_, subject = _categories(component)
    return Draft(
        title=_text(component, "SUMMARY").strip() or "Untitled",
        start_date=start.value,
        end_date=_end(component, start, zone),
        description=_text(component, "DESCRIPTION"),
        location=_text(component, "LOCATION"),
        subject=subject,
        type=type_,
        time_zone=start.zone or zone,
        all_day=start.is_day,
        recurrence=_rule(component),
        exdates=[*_exdates(component, start, zone)],
        reminder_minutes=_reminders(component),
    )


def _text(component: Component, name: str) -> str:
    # Programs that paste from others leave such characters behind; of no use, and no reason to refuse a file.
    return without_controls(component.text(name))


def _start(component: Component, zone: str) -> _Time:
    found = component.first("DTSTART")
    if found is None:
        raise BadEvent("DTSTART", "is missing")
    return _times(found, zone)[0]


def _end(component: Component, start: _Time, zone: str) -> datetime | None:
    if (found := component.first("DTEND")) is not None:
        return _times(found, zone)[0].value
    if (found := component.first("DURATION")) is not None:
        days, exactly = _duration(found)
        # Days are those of clocks, however long (section 3.3.6).
        if start.zone is None:
            return start.value + days + exactly
        clocks = ZoneInfo(start.zone)
        return to_utc(to_wall(start.value, clocks) + days, clocks) + exactly
    return None


def _times(found: Property, zone: str) -> Sequence[_Time]:
    """Read the times of a line, which of DTSTART and its like is one."""
    name = found.parameters.get("TZID", "")
    given = _zone_name(name) if name else None
    if name and given is None:
        raise BadEvent(found.name, "names a time zone that is not known")
    return [_time(found.name, text.strip().upper(), given or zone) for text in found.value.split(",")]


def _time(name: str, text: str, zone: str) -> _Time:
    value = read_date(text)
    if value is None or not FIRST_YEAR < value.year < LAST_YEAR:
        raise BadEvent(name, "is not a date (20261231) or a time (20261231T225959)")
    if not isinstance(value, datetime):
        return _Time(datetime.combine(value, time()), None)
    if value.tzinfo is not None:
        return _Time(value, UTC_NAME)
    return _Time(to_utc(value, ZoneInfo(zone)), zone)


def _zone_name(name: str) -> str | None:
    """Return the IANA name of a time zone that a program named in its own way: by Windows' name, or with a
    path before it.
    """
    name = WINDOWS_TO_OLSON.get(name.strip("/ "), name.strip("/ "))
    parts = name.split("/")
    ends = ("/".join(parts[first:]) for first in range(min(len(parts), MAX_ZONE_PARTS)))
    return next(filter(is_zone, ends), None)


def _rule(component: Component) -> str | None:
    found = component.all("RRULE")
    if len(found) > 1:
        raise BadEvent("RRULE", "stands there twice")
    return found[0].value if found else None


def _exdates(component: Component, start: _Time, zone: str) -> Iterator[datetime]:
    for found in component.all("EXDATE"):
        for one in _times(found, zone):
            yield on_series(one.value, start.value, start.zone or zone, all_day=start.is_day)


def on_series(moment: datetime, start: datetime, zone: str, *, all_day: bool) -> datetime:
    """Return the start of an occurrence that a file names, as `Draft` takes it: some programs name only the
    day of a time, which is without a time zone here.

    Args:
        start: of the series, in the time zone `zone`.
    """
    if all_day:
        wall = to_wall(moment, ZoneInfo(zone)) if moment.tzinfo else moment
        return datetime.combine(wall, time())
    return moment if moment.tzinfo else datetime.combine(moment, to_wall(start, ZoneInfo(zone)).time())


def _duration(found: Property) -> tuple[timedelta, timedelta]:
    """Return the days of a duration, and what it has besides; neither so long that no date is left, but
    still longer than any event may be.
    """
    read = _DURATION.fullmatch(found.value.strip().upper())
    if read is None:
        raise BadEvent(found.name, "is not a duration (PT1H30M)")
    weeks, days, hours, minutes, seconds = (int(one or 0) for one in read.groups()[1:])
    exactly = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    sign = -1 if read[1] == "-" else 1
    return sign * timedelta(min(weeks * 7 + days, _MANY_DAYS)), sign * min(exactly, 2 * LONGEST)


def _reminders(component: Component) -> list[int]:
    """Return the minutes before the start of those alarms that the planner can keep; the others are of no
    use to it.
    """
    minutes = set()
    for alarm in component.inside("VALARM"):
        trigger = alarm.first("TRIGGER")
        if trigger is None or trigger.parameters.get("RELATED", "START").upper() != "START":
            continue
        try:
            minutes.add(-sum(_duration(trigger), timedelta()) // _MINUTE)
        except BadEvent:
            continue
    return sorted(one for one in minutes if 0 <= one <= MAX_REMINDER_MINUTES)[:MAX_REMINDERS]


def _categories(component: Component) -> tuple[EventType, Subject | None]:
    """Return type and subject, which are categories in a file."""
    names = [
        name.strip().lower().replace(" ", "_")
        for found in component.all("CATEGORIES")
        for name in found.value.split(",")
    ]
    type_ = next((EventType(name) for name in names if name in set(EventType)), None)
    if type_ is not None:
        names.remove(type_.value)
    subject = next((Subject(name) for name in names if name in set(Subject)), None)
    return type_ or EventType.OTHER, subject


def _sequence(component: Component) -> int | None:
    text = component.text("SEQUENCE").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_SEQUENCE_DIGITS else None

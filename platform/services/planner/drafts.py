"""An event as its author gives it, and what is stored of it: checked, and with all that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.db.repositories.planner_events import LONGEST
from little_monster.platform.errors import InvalidInput, LittleMonsterError
from little_monster.platform.services.planner.days import days
from little_monster.platform.services.planner.occurrences import Series
from little_monster.platform.services.planner.reminders import next_reminder
from little_monster.platform.services.planner.rules import (
    FIRST_YEAR,
    LAST_YEAR,
    BadRule,
    Rule,
    read_rule,
    with_until,
)
from little_monster.platform.services.planner.texts import (
    has_controls,
    with_plain_ends,
    without_controls,
)
from little_monster.platform.services.planner.zones import exists, is_zone, to_utc, to_wall

MAX_TITLE_CHARS = 300
MAX_DESCRIPTION_CHARS = 10_000
MAX_LOCATION_CHARS = 500
MAX_EXDATES = 500
MAX_REMINDERS = 10
MAX_REMINDER_MINUTES = 28 * 24 * 60

_DAY = timedelta(days=1)
_END_OF_DAY = time(23, 59, 59)
_LENGTHS = {
    "title": MAX_TITLE_CHARS,
    "description": MAX_DESCRIPTION_CHARS,
    "location": MAX_LOCATION_CHARS,
}


class BadEvent(LittleMonsterError):
    """A field of the event breaks a rule; the message says which one, for its author."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message

    def problem(self, place: str = "body") -> InvalidInput:
        """Return what a client is told; `place` is the part of the request that holds the field."""
        return InvalidInput(
            f"`{self.field}`: {self.message}",
            code="invalid_event",
            errors=[{"field": f"{place}.{self.field}", "message": self.message}],
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """An event. A time without an offset is what clocks show in `time_zone`; without an end the event has no
    length, or takes the one day. Of an event with `all_day` only the dates count.
    """

    title: str
    start_date: datetime
    end_date: datetime | None = None
    description: str = ""
    location: str = ""
    subject: Subject | None = None
    type: EventType = EventType.OTHER
    time_zone: str = "UTC"
    all_day: bool = False
    is_completed: bool = False
    recurrence: str | None = None
    exdates: Sequence[datetime] = ()
    reminder_minutes: Sequence[int] = ()

    @classmethod
    def of(cls, event: PlannerEvent) -> "Draft":
        """Return the draft of a stored event. The days of one with `all_day` stay when its time zone changes,
        the moments of others do; texts lose the control characters that they may have had once.
        """
        zone = ZoneInfo(event.time_zone)

        def given(moment: datetime) -> datetime:
            return to_wall(moment, zone) if event.all_day else moment

        return cls(
            title=without_controls(event.title),
            start_date=given(event.start_date),
            end_date=given(event.end_date),
            description=without_controls(event.description),
            location=without_controls(event.location),
            subject=event.subject,
            type=event.type,
            time_zone=event.time_zone,
            all_day=event.all_day,
            is_completed=event.is_completed,
            recurrence=event.recurrence,
            exdates=[given(one) for one in event.exdates],
            reminder_minutes=event.reminder_minutes,
        )


def settle(draft: Draft, now: datetime) -> dict[str, Any]:
    """Return the columns of an event: times in UTC, the rule in its normal form, the next reminder after
    `now`.

    Raises:
        BadEvent: a field breaks a rule.
    """
    texts = _texts(draft)
    series = _series(draft)
    reminders = _reminders(draft)
    following = None
    if reminders and not draft.is_completed:
        following = next_reminder(series, reminders, after=now, now=now)
    due_at, starts_at = following or (None, None)
    return {
        **texts,
        "subject": draft.subject,
        "type": draft.type,
        "start_date": series.start,
        "end_date": series.end,
        "time_zone": draft.time_zone,
        "all_day": draft.all_day,
        "is_completed": draft.is_completed,
        "recurrence": series.rule.text() if series.rule else None,
        "exdates": sorted(series.exdates),
        "repeats_until": series.last,
        "reminder_minutes": reminders,
        "next_reminder_at": due_at,
        "next_reminder_for": starts_at,
    }


def _texts(draft: Draft) -> dict[str, str]:
    texts = {field: with_plain_ends(getattr(draft, field)) for field in _LENGTHS}
    for field, text in texts.items():
        if len(text) > _LENGTHS[field]:
            raise BadEvent(field, f"has more than {_LENGTHS[field]} characters")
        if has_controls(text):
            raise BadEvent(field, "must not contain control characters")
    if not texts["title"].strip():
        raise BadEvent("title", "must not be empty")
    return texts


def _series(draft: Draft) -> Series:
    if not is_zone(draft.time_zone):
        raise BadEvent("time_zone", "is not the name of a time zone, as Europe/Berlin")
    zone = ZoneInfo(draft.time_zone)
    start, end = _dates(draft, zone)
    rule = _rule(draft, zone, start)
    exdates = _exdates(draft, zone) if rule else frozenset()
    series = Series(start, end, zone, draft.all_day, rule, exdates)
    return replace(series, last=series.last_start())


def _dates(draft: Draft, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start = _moment("start_date", draft.start_date, draft, zone)
    given = draft.end_date or draft.start_date
    end = _moment("end_date", given, draft, zone)
    if draft.all_day:
        end = _last_midnight(start, end, given, zone)
    if end < start:
        raise BadEvent("end_date", "is before start_date")
    if end - start > LONGEST:
        raise BadEvent("end_date", f"is more than {LONGEST.days} days after start_date")
    return start, end


def _moment(field: str, given: datetime, draft: Draft, zone: ZoneInfo) -> datetime:
    # A day less and more, as a time zone may put it into the next year.
    if not FIRST_YEAR < given.year < LAST_YEAR:
        raise BadEvent(field, f"is not between {FIRST_YEAR + 1} and {LAST_YEAR - 1}")
    given = given.replace(microsecond=0)
    if draft.all_day:
        wall = to_wall(given, zone) if given.tzinfo else given
        return to_utc(datetime.combine(wall.date(), time()), zone)
    return given.astimezone(UTC) if given.tzinfo else to_utc(given, zone)


def _last_midnight(start: datetime, end: datetime, given: datetime, zone: ZoneInfo) -> datetime:
    """Return the midnight at which an event of whole days is over: an end within a day takes all of it."""
    wall = to_wall(given, zone) if given.tzinfo else given
    last = to_wall(end, zone).date()
    if wall.time() != time() or end == start:
        last += _DAY
    return to_utc(datetime.combine(last, time()), zone)


def _rule(draft: Draft, zone: ZoneInfo, start: datetime) -> Rule | None:
    if not draft.recurrence:
        return None
    try:
        rule = _ended(read_rule(draft.recurrence), draft, zone)
    except BadRule as error:
        raise BadEvent("recurrence", str(error)) from None
    first = to_wall(start, zone).date()
    if next(days(rule, first), None) is None:
        raise BadEvent("recurrence", f"The rule names no day until {LAST_YEAR}.")
    if rule.until is not None and _is_before(rule.until, start, first):
        raise BadEvent("recurrence", "UNTIL is before start_date.")
    if not draft.all_day and not draft.start_date.tzinfo and not exists(draft.start_date, zone):
        raise BadEvent("start_date", "is skipped by the clocks on that day; a series cannot begin then")
    return rule


def _ended(rule: Rule, draft: Draft, zone: ZoneInfo) -> Rule:
    """Give UNTIL the form that the RFC wants: a day for whole days, else a moment in UTC."""
    until = rule.until
    if until is None:
        return rule
    if draft.all_day:
        return with_until(rule, _day_of(until, zone))
    if not isinstance(until, datetime):
        until = datetime.combine(until, _END_OF_DAY)
    return with_until(rule, until if until.tzinfo else to_utc(until, zone))


def _day_of(until: date | datetime, zone: ZoneInfo) -> date:
    if not isinstance(until, datetime):
        return until
    return (to_wall(until, zone) if until.tzinfo else until).date()


def _is_before(until: date | datetime, start: datetime, first: date) -> bool:
    return until < start if isinstance(until, datetime) else until < first


def _exdates(draft: Draft, zone: ZoneInfo) -> frozenset[datetime]:
    if len(draft.exdates) > MAX_EXDATES:
        raise BadEvent("exdates", f"has more than {MAX_EXDATES} items")
    return frozenset(_moment("exdates", one, draft, zone) for one in draft.exdates)


def _reminders(draft: Draft) -> list[int]:
    found = sorted(set(draft.reminder_minutes))
    if len(found) > MAX_REMINDERS:
        raise BadEvent("reminder_minutes", f"has more than {MAX_REMINDERS} items")
    if any(not 0 <= one <= MAX_REMINDER_MINUTES for one in found):
        raise BadEvent("reminder_minutes", f"has an item that is not from 0 to {MAX_REMINDER_MINUTES}")
    return found

"""Recurrence rules (RFC 5545, section 3.3.10), read strictly: one that is accepted is cheap to expand.

An event takes place at most once a day, so that FREQ is DAILY or longer, and BYHOUR, BYMINUTE and BYSECOND
have no place; nor has BYWEEKNO, of which calendar programs make nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from little_monster.platform.errors import LittleMonsterError
from little_monster.platform.services.planner.quotes import quoted

MAX_RULE_CHARS = 500
MAX_COUNT = 730
MAX_INTERVAL = 1_000
FIRST_YEAR, LAST_YEAR = 1970, 2199
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

Until: TypeAlias = date | datetime | None
Weekday: TypeAlias = tuple[int, int]
"""Which of them (1: the first, -1: the last, 0: each), and the day of the week from Monday's 0 on."""

_WEEKDAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_NUMBER = re.compile(r"[+-]?[0-9]{1,4}")
_DATE = re.compile(r"[0-9]{8}")
_DATE_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z?")


class BadRule(LittleMonsterError):
    """The rule cannot be used; the message is a sentence for its author."""


class Frequency(StrEnum):
    """What passes from one set of occurrences to the next."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    YEARLY = "YEARLY"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, its parts by their meaning. `until` is the last moment, or the last day, of a start; a moment
    without a time zone is in that of the event. `week_start` is a day of the week from Monday's 0 on.
    """

    frequency: Frequency
    interval: int = 1
    count: int | None = None
    until: Until = None
    months: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 0
    parts: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def text(self) -> str:
        """Return the value of an RRULE."""
        return ";".join(f"{name}={self.parts[name]}" for name in _FIELDS if name in self.parts)


def read_date(value: str) -> Until:
    """Read a DATE or a DATE-TIME of RFC 5545, sections 3.3.4 and 3.3.5; None when it is neither."""
    try:
        if _DATE.fullmatch(value):
            return datetime.strptime(value, "%Y%m%d").date()
        if _DATE_TIME.fullmatch(value):
            moment = datetime.strptime(value.removesuffix("Z"), "%Y%m%dT%H%M%S")
            return moment.replace(tzinfo=UTC) if value.endswith("Z") else moment
    except ValueError:
        pass
    return None


def read_rule(text: str) -> Rule:
    """Read the value of an RRULE, whatever its case.

    Raises:
        BadRule: it is no rule, or not one that this project follows.
    """
    parts = _split(text)
    values = {_FIELDS[name]: _READERS[name](name, value) for name, value in parts.items()}
    if "frequency" not in values:
        raise BadRule("FREQ is missing.")
    rule = Rule(**values, parts=parts)
    _check(rule)
    return rule


def with_until(rule: Rule, until: date | datetime) -> Rule:
    """Return the rule with another end: a day, or a moment in UTC."""
    is_moment = isinstance(until, datetime)
    written = until.strftime("%Y%m%dT%H%M%SZ" if is_moment else "%Y%m%d")
    return replace(rule, until=until, parts={**rule.parts, "UNTIL": written})


def _split(text: str) -> dict[str, str]:
    if len(text) > MAX_RULE_CHARS:
        raise BadRule(f"The rule is longer than {MAX_RULE_CHARS} characters.")
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise BadRule(f"{quoted(part)} is not NAME=VALUE.")
        if name not in _FIELDS:
            raise BadRule(f"{quoted(name)} is not supported; an event takes place at most once a day.")
        if name in parts:
            raise BadRule(f"{name} stands there twice.")
        parts[name] = value
    return parts


def _check(rule: Rule) -> None:
    yearly, monthly = rule.frequency == Frequency.YEARLY, rule.frequency == Frequency.MONTHLY
    wrong = {
        "COUNT and UNTIL exclude each other.": rule.count is not None and rule.until is not None,
        "BYYEARDAY needs FREQ=YEARLY.": bool(rule.year_days) and not yearly,
        "BYMONTHDAY does not go with FREQ=WEEKLY.": bool(rule.month_days)
        and rule.frequency == Frequency.WEEKLY,
        "A numbered BYDAY (2MO) needs FREQ=MONTHLY or YEARLY.": any(number for number, _ in rule.weekdays)
        and not (monthly or yearly),
        "BYSETPOS needs another BY... part.": bool(rule.positions)
        and not (rule.months or rule.month_days or rule.year_days or rule.weekdays),
    }
    for sentence, broken in wrong.items():
        if broken:
            raise BadRule(sentence)


def _frequency(_name: str, value: str) -> Frequency:
    try:
        return Frequency(value)
    except ValueError:
        raise BadRule(f"FREQ={quoted(value)} is not one of {', '.join(Frequency)}.") from None


def _number(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        if not _NUMBER.fullmatch(value) or not low <= int(value) <= high:
            raise BadRule(f"{name}={quoted(value)} is not a number from {low} to {high}.")
        return int(value)

    return read


def _numbers(high: int, *, negative: bool = True) -> Callable[[str, str], tuple[int, ...]]:
    one = _number(-high if negative else 1, high)

    def read(name: str, value: str) -> tuple[int, ...]:
        found = {one(name, item) for item in value.split(",")}
        if 0 in found:
            raise BadRule(f"{name} counts from 1.")
        return tuple(sorted(found))

    return read


def _weekdays(name: str, value: str) -> tuple[Weekday, ...]:
    found = set()
    for item in value.split(","):
        match = _WEEKDAY.fullmatch(item)
        number = int(match[1] or 0) if match else 0
        if match is None or abs(number) > 53 or (match[1] and not number):
            raise BadRule(f"{name}={quoted(item)} is not a day of the week, as MO or -1FR.")
        found.add((number, WEEKDAYS.index(match[2])))
    return tuple(sorted(found))


def _weekday(name: str, value: str) -> int:
    if value not in WEEKDAYS:
        raise BadRule(f"{name}={quoted(value)} is not one of {', '.join(WEEKDAYS)}.")
    return WEEKDAYS.index(value)


def _until(name: str, value: str) -> date | datetime:
    found = read_date(value)
    if found is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise BadRule(
            f"{name}={quoted(value)} is not a date (20261231) or a moment (20261231T225959Z)"
            f" from {FIRST_YEAR} to {LAST_YEAR}."
        )
    return found


# In the order of `icalendar`, so that a rule is the same text before and after it was in a file.
_FIELDS = {
    "FREQ": "frequency",
    "UNTIL": "until",
    "COUNT": "count",
    "INTERVAL": "interval",
    "BYDAY": "weekdays",
    "BYMONTHDAY": "month_days",
    "BYYEARDAY": "year_days",
    "BYMONTH": "months",
    "BYSETPOS": "positions",
    "WKST": "week_start",
}
_READERS: dict[str, Callable[[str, str], Any]] = {
    "FREQ": _frequency,
    "INTERVAL": _number(1, MAX_INTERVAL),
    "COUNT": _number(1, MAX_COUNT),
    "UNTIL": _until,
    "BYMONTH": _numbers(12, negative=False),
    "BYMONTHDAY": _numbers(31),
    "BYYEARDAY": _numbers(366),
    "BYDAY": _weekdays,
    "BYSETPOS": _numbers(366),
    "WKST": _weekday,
}

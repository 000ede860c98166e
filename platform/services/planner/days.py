"""The days that a recurrence rule names, with a bound on the work of finding them.

dateutil, the usual expander, looks for the next day until the year 9999, which takes seconds for a rule that
names none, as the 30th of February. This one gives a rule up for ended after so many days in vain; the tests
compare the two.
"""

from calendar import isleap, monthrange
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

from little_monster.platform.services.planner.rules import LAST_YEAR, Frequency, Rule, Weekday

# Enough for one day in two years; some milliseconds to look at.
MAX_DAYS_IN_VAIN = 1_000

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


def days(rule: Rule, start: date, since: date | None = None) -> Iterator[date]:
    """Yield the days that `rule` names from `start` on, in order, whatever its COUNT and UNTIL; those before
    `since` may be left out.
    """
    rule, vain = _completed(rule, start), 0
    for period in _periods(rule, start, max(start, since or start)):
        candidates = _candidates(rule, period)
        found = [day for day in candidates if _matches(rule, day)]
        named = [day for day in _at_positions(rule, found) if day >= start]
        yield from named
        vain = 0 if named else vain + len(candidates)
        if vain > MAX_DAYS_IN_VAIN:
            return


def _completed(rule: Rule, start: date) -> Rule:
    """Take what the rule leaves open from the start, as the RFC says."""
    if rule.month_days or rule.year_days or rule.weekdays:
        return rule
    if rule.frequency == Frequency.WEEKLY:
        return replace(rule, weekdays=((0, start.weekday()),))
    if rule.frequency == Frequency.MONTHLY:
        return replace(rule, month_days=(start.day,))
    if rule.frequency == Frequency.YEARLY:
        return replace(rule, months=rule.months or (start.month,), month_days=(start.day,))
    return rule


def _periods(rule: Rule, start: date, since: date) -> Iterator[date]:
    """Yield the first days of the periods that the rule looks at, from the last one begun by `since` on."""
    if rule.frequency == Frequency.DAILY:
        return _steps(start, _DAY * rule.interval, since)
    if rule.frequency == Frequency.WEEKLY:
        first = start - _DAY * ((start.weekday() - rule.week_start) % 7)
        return _steps(first, _WEEK * rule.interval, since)
    if rule.frequency == Frequency.MONTHLY:
        return _month_steps(start.year * 12 + start.month - 1, rule.interval, since)
    return _month_steps(start.year * 12, rule.interval * 12, since)


def _steps(first: date, step: timedelta, since: date) -> Iterator[date]:
    day = first + (since - first) // step * step
    while day.year <= LAST_YEAR:
        yield day
        day += step


def _month_steps(first: int, step: int, since: date) -> Iterator[date]:
    """The same in months, counted from the year 0."""
    month = first + (since.year * 12 + since.month - 1 - first) // step * step
    while month // 12 <= LAST_YEAR:
        yield date(month // 12, month % 12 + 1, 1)
        month += step


def _candidates(rule: Rule, period: date) -> Sequence[date]:
    """Return the days of a period, without those of months that a yearly rule leaves out."""
    if rule.frequency == Frequency.DAILY:
        return [period]
    if rule.frequency == Frequency.WEEKLY:
        return [period + _DAY * number for number in range(7)]
    if rule.frequency == Frequency.MONTHLY:
        return _days_of(period.year, period.month)
    return [day for month in rule.months or range(1, 13) for day in _days_of(period.year, month)]


def _days_of(year: int, month: int) -> Sequence[date]:
    return [date(year, month, number + 1) for number in range(_month_length(year, month))]


def _matches(rule: Rule, day: date) -> bool:
    return (
        (not rule.months or day.month in rule.months)
        and (not rule.month_days or _is_numbered(*_place_in_month(day), rule.month_days))
        and (not rule.year_days or _is_numbered(*_place_in_year(day), rule.year_days))
        and (not rule.weekdays or any(_is_weekday(rule, day, one) for one in rule.weekdays))
    )


def _is_numbered(number: int, last: int, wanted: Sequence[int]) -> bool:
    """Say whether a day, counted from the front or from the back, is among those wanted."""
    return number in wanted or number - last - 1 in wanted


def _is_weekday(rule: Rule, day: date, wanted: Weekday) -> bool:
    which, weekday = wanted
    if day.weekday() != weekday:
        return False
    # "The second Monday": of the year when only that is said, else of the month.
    in_year = rule.frequency == Frequency.YEARLY and not rule.months
    number, last = _place_in_year(day) if in_year else _place_in_month(day)
    return which in (0, (number - 1) // 7 + 1, -((last - number) // 7 + 1))


def _place_in_month(day: date) -> tuple[int, int]:
    return day.day, _month_length(day.year, day.month)


def _place_in_year(day: date) -> tuple[int, int]:
    return day.timetuple().tm_yday, 365 + isleap(day.year)


def _month_length(year: int, month: int) -> int:
    return monthrange(year, month)[1]


def _at_positions(rule: Rule, found: Sequence[date]) -> Sequence[date]:
    if not rule.positions:
        return found
    return [day for number, day in enumerate(found, 1) if _is_numbered(number, len(found), rule.positions)]

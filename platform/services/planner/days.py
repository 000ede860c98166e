"""The days that a recurrence rule names, with a bound on the work of finding them.

dateutil, the usual expander, looks day by day until the year 9999, which takes seconds for a rule that names
none, as the 30th of February. But which days of a year have the months, numbers and weekdays of a rule hangs
on two things alone, whether it is a leap year and with which day of the week it begins: of 14 kinds of year
each is looked at once, and the two centuries that a rule may last cost little. The tests compare the two
expanders.
"""

from calendar import isleap, monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import groupby

from little_monster.platform.services.planner.rules import LAST_YEAR, Frequency, Rule, Weekday

# BYSETPOS alone passes over days that have all the rest: for some years, as a 366th day, or for ever.
MAX_DAYS_IN_VAIN = 10_000

_DAY = timedelta(days=1)
_WEEK_DAYS = 7


def days(rule: Rule, start: date, since: date | None = None) -> Iterator[date]:
    """Yield the days that `rule` names from `start` on, in order, whatever its COUNT and UNTIL; those before
    `since` may be left out.
    """
    rule, vain = _completed(rule, start), 0
    period_of = _period_of(rule, start)
    # A period is taken whole, as its positions are counted from its own begin and end.
    begin = _period_begin(rule, max(start, since or start))
    turns = (day for day in _filtered(rule, start, begin) if period_of(day) % rule.interval == 0)
    for _, period in groupby(turns, period_of):
        found = [*period]
        named = [day for day in _at_positions(rule, found) if day >= start]
        yield from named
        vain = 0 if named else vain + len(found)
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


def _period_begin(rule: Rule, day: date) -> date:
    """Return the first day of the period of the rule's frequency that `day` is in."""
    if rule.frequency == Frequency.DAILY:
        return day
    if rule.frequency == Frequency.WEEKLY:
        return _week_begin(rule, day)
    return day.replace(day=1) if rule.frequency == Frequency.MONTHLY else date(day.year, 1, 1)


def _period_of(rule: Rule, start: date) -> Callable[[date], int]:
    """Return what says how many periods after that of `start` the one of a day is."""
    if rule.frequency == Frequency.DAILY:
        return lambda day: (day - start).days
    if rule.frequency == Frequency.WEEKLY:
        first = _week_begin(rule, start)
        return lambda day: (day - first).days // _WEEK_DAYS
    if rule.frequency == Frequency.MONTHLY:
        return lambda day: (day.year - start.year) * 12 + day.month - start.month
    return lambda day: day.year - start.year


def _week_begin(rule: Rule, day: date) -> date:
    return day - _DAY * ((day.weekday() - rule.week_start) % _WEEK_DAYS)


def _filtered(rule: Rule, start: date, begin: date) -> Iterator[date]:
    """Yield the days from `begin` on that pass the BY... parts of a rule, of a daily one those that have
    their turn.
    """
    filters = replace(rule, interval=1, count=None, until=None, positions=(), week_start=0)
    # There may be a thousand days between two turns: numbers are passed over faster than days.
    step = rule.interval if rule.frequency == Frequency.DAILY else 1
    for year in range(begin.year, LAST_YEAR + 1):
        first = date(year, 1, 1)
        past = (first - start).days
        for number in _numbers(filters, isleap(year), first.weekday()):
            if (past + number) % step == 0 and (day := first + _DAY * number) >= begin:
                yield day


@lru_cache(1024)
def _numbers(filters: Rule, leap: bool, weekday: int) -> Sequence[int]:
    """Return which days of a year of this kind pass, counted from 0 on; `weekday` is that of the first."""
    # Any year of the kind will do.
    year = next(year for year in range(1970, 2010) if _kind(year) == (leap, weekday))
    every = (date(year, 1, 1) + _DAY * number for number in range(365 + leap))
    return tuple(number for number, day in enumerate(every) if _matches(filters, day))


def _kind(year: int) -> tuple[bool, int]:
    return isleap(year), date(year, 1, 1).weekday()


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
    return which in (0, (number - 1) // _WEEK_DAYS + 1, -((last - number) // _WEEK_DAYS + 1))


def _place_in_month(day: date) -> tuple[int, int]:
    return day.day, monthrange(day.year, day.month)[1]


def _place_in_year(day: date) -> tuple[int, int]:
    return day.timetuple().tm_yday, 365 + isleap(day.year)


def _at_positions(rule: Rule, found: Sequence[date]) -> Sequence[date]:
    if not rule.positions:
        return found
    return [day for number, day in enumerate(found, 1) if _is_numbered(number, len(found), rule.positions)]

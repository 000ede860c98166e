"""When an event takes place: once, or by its rule again and again at the same clock time of its time zone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

from little_monster.platform.services.planner.days import days
from little_monster.platform.services.planner.rules import Rule, read_rule
from little_monster.platform.services.planner.zones import to_wall

_HOUR = timedelta(hours=1)


class Dated(Protocol):
    """An event's times, as the planner stores them."""

    @property
    def start_date(self) -> datetime: ...

    @property
    def end_date(self) -> datetime: ...

    @property
    def time_zone(self) -> str: ...

    @property
    def all_day(self) -> bool: ...

    @property
    def recurrence(self) -> str | None: ...

    @property
    def exdates(self) -> Sequence[datetime]: ...

    @property
    def repeats_until(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that an event takes place, from `start` until before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Series:
    """All times that an event takes place. The first is `start`, whether the rule names it or not; none
    begins after `last`, which stands for the rule's COUNT and UNTIL.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo
    all_day: bool = False
    rule: Rule | None = None
    exdates: frozenset[datetime] = frozenset()
    last: datetime | None = None

    @classmethod
    def of(cls, event: Dated) -> "Series":
        """Read the times of a stored event."""
        return cls(
            event.start_date,
            event.end_date,
            ZoneInfo(event.time_zone),
            event.all_day,
            read_rule(event.recurrence) if event.recurrence else None,
            frozenset(event.exdates),
            event.repeats_until,
        )

    def between(self, begin: datetime, end: datetime) -> Iterator[Occurrence]:
        """Yield, in order, the occurrences that have a moment in common with `begin` until before `end`."""
        # A day can be an hour longer than another, as clocks are put back.
        since = begin - (self.end - self.start) - _HOUR
        for one in map(self._occurrence, self.starts(since)):
            if one.start >= end:
                return
            if one.end > begin or one.start >= begin:
                yield one

    def first_after(self, moment: datetime) -> datetime | None:
        """Return the start of the first occurrence that begins after `moment`."""
        return next((start for start in self.starts(moment) if start > moment), None)

    def starts(self, since: datetime | None = None) -> Iterator[datetime]:
        """Yield the starts of occurrences in order; some of those before `since` are left out."""
        return (start for start in self._named(since) if start not in self.exdates)

    def _named(self, since: datetime | None = None) -> Iterator[datetime]:
        """Yield the starts that the rule names, those of `exdates` too. Clock times that are skipped when
        clocks are put forward are no occurrences, and do not count (RFC 5545, section 3.3.10).
        """
        yield self.start
        if self.rule is None:
            return
        first, near = self._first_day, to_wall(since, self.zone).date() if since else None
        for day in days(self.rule, first, near):
            start = self._start_on(day)
            if self.last is not None and start > self.last:
                return
            if day > first and self._is_real(start):
                yield start

    def _occurrence(self, start: datetime) -> Occurrence:
        """Return the occurrence that begins at `start`: as long as the first, in whole days or exactly."""
        if not self.all_day:
            return Occurrence(start, start + (self.end - self.start))
        length = to_wall(self.end, self.zone).date() - self._first_day
        return Occurrence(start, self._start_on(to_wall(start, self.zone).date() + length))

    def last_start(self) -> datetime | None:
        """Return a moment after which no occurrence begins by COUNT and UNTIL of the rule, which are read
        nowhere else; None when there is no such moment.
        """
        if self.rule is None:
            return None
        if self.rule.count is not None:
            *_, last = islice(self._named(), self.rule.count)
            return last
        until = self.rule.until
        return until if until is None or isinstance(until, datetime) else self._start_on(until)

    def _is_real(self, start: datetime) -> bool:
        # A day without a midnight is a day all the same.
        return self.all_day or start.astimezone(self.zone).time() == self._time.replace(tzinfo=None)

    def _start_on(self, day: date) -> datetime:
        return datetime.combine(day, self._time).astimezone(UTC)

    @cached_property
    def _first_day(self) -> date:
        return to_wall(self.start, self.zone).date()

    @cached_property
    def _time(self) -> time:
        # A day may begin after midnight, where the clocks were put forward then; the next one does not.
        first = time() if self.all_day else to_wall(self.start, self.zone).time()
        return first.replace(tzinfo=self.zone, fold=0)

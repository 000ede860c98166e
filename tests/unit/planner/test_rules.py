"""Recurrence rules: what is read, what is refused and why, and the days that they name beside dateutil's."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import islice, takewhile

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from little_monster.platform.services.planner.days import days
from little_monster.platform.services.planner.rules import (
    LAST_YEAR,
    BadRule,
    Frequency,
    Rule,
    read_rule,
    with_until,
)

START = date(2026, 1, 5)


def test_a_rule_is_read_whatever_its_case_and_order() -> None:
    rule = read_rule("rrule:byday=-1fr,+2MO;interval=2;wkst=su;FREQ=monthly;count=5;bysetpos=-1,1")
    assert rule == Rule(
        Frequency.MONTHLY,
        interval=2,
        count=5,
        weekdays=((-1, 4), (2, 0)),
        positions=(-1, 1),
        week_start=6,
    )
    assert rule.text() == "FREQ=MONTHLY;COUNT=5;INTERVAL=2;BYDAY=-1FR,+2MO;BYSETPOS=-1,1;WKST=SU"
    assert read_rule(rule.text()) == rule


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("20261231", date(2026, 12, 31)),
        ("20261231T225959Z", datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)),
        ("20261231T225959", datetime(2026, 12, 31, 22, 59, 59)),
    ],
)
def test_until_is_a_day_or_a_moment(text: str, until: date) -> None:
    assert read_rule(f"FREQ=DAILY;UNTIL={text}").until == until


def test_until_is_replaced_in_the_text_too() -> None:
    rule = with_until(read_rule("FREQ=DAILY;UNTIL=20261231;INTERVAL=3"), date(2026, 6, 1))
    assert (rule.until, rule.text()) == (date(2026, 6, 1), "FREQ=DAILY;UNTIL=20260601;INTERVAL=3")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "NAME=VALUE"),
        ("COUNT=3", "FREQ is missing"),
        ("FREQ=SECONDLY", "not one of DAILY"),
        ("FREQ=HOURLY;COUNT=3", "not one of DAILY"),
        ("FREQ=DAILY;BYHOUR=9,17", "BYHOUR is not supported"),
        ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO is not supported"),
        ("FREQ=DAILY;BYEASTER=1", "BYEASTER is not supported"),
        ("FREQ=DAILY;FREQ=DAILY", "twice"),
        ("FREQ=DAILY;COUNT=1000000000", "COUNT"),
        ("FREQ=DAILY;COUNT=" + "9" * 400, "COUNT"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=2.5", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=٣", "INTERVAL"),
        ("FREQ=DAILY;UNTIL=99991231T235959Z", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20260230", "UNTIL"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20261231", "exclude each other"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "counts from 1"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYMONTH=-1", "BYMONTH"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYYEARDAY=1", "FREQ=YEARLY"),
        ("FREQ=WEEKLY;BYDAY=2MO", "numbered"),
        ("FREQ=MONTHLY;BYDAY=0MO", "day of the week"),
        ("FREQ=MONTHLY;BYDAY=60MO", "day of the week"),
        ("FREQ=WEEKLY;BYDAY=XX", "day of the week"),
        ("FREQ=WEEKLY;WKST=1", "WKST"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=DAILY;" + ";" * 600, "longer"),
        ("DTSTART:20260101\nRRULE:FREQ=DAILY", "NAME=VALUE|not supported"),
    ],
)
def test_a_rule_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(BadRule, match=why):
        read_rule(text)


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=YEARLY;BYYEARDAY=1;BYMONTH=12",
        "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=5",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU,WE,TH,FR,SA,SU",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=8",
        "FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1,2,3",
    ],
)
def test_a_rule_that_names_no_day_is_given_up_soon(text: str) -> None:
    begun = time.process_time()
    assert next(days(read_rule(text), START), None) is None
    assert time.process_time() - begun < 0.1


def test_a_rule_ends_before_dates_do() -> None:
    found = list(days(read_rule("FREQ=YEARLY;INTERVAL=50"), START))
    assert found == [date(year, 1, 5) for year in (2026, 2076, 2126, 2176)]


def test_a_leap_day_comes_again() -> None:
    found = days(read_rule("FREQ=YEARLY"), date(2092, 2, 29))
    assert list(islice(found, 3)) == [date(2092, 2, 29), date(2096, 2, 29), date(2104, 2, 29)]


@pytest.mark.parametrize("frequency", list(Frequency))
def test_a_later_begin_of_the_search_finds_the_same_days(frequency: Frequency) -> None:
    rule = read_rule(f"FREQ={frequency};INTERVAL=3")
    every = [day for day in takewhile(lambda day: day.year < 2046, days(rule, START)) if day.year > 2034]
    late = takewhile(lambda day: day.year < 2046, days(rule, START, date(2035, 1, 1)))
    assert [day for day in late if day.year > 2034] == every
    assert every


_weekdays = st.lists(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), min_size=1, unique=True)
# Not beside ones without a number, of which dateutil wants both.
_numbered = st.tuples(st.sampled_from(["1", "2", "-1", "-2"]), st.sampled_from(["MO", "WE", "SU"])).map(
    "".join
)


def _listed(values: list[object]) -> str:
    return ",".join(str(value) for value in values)


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(list(Frequency)))
    parts = {"FREQ": str(frequency), "INTERVAL": str(draw(st.integers(1, 4)))}
    if draw(st.booleans()):
        parts["BYMONTH"] = _listed(draw(st.lists(st.integers(1, 12), min_size=1, unique=True)))
    if frequency in (Frequency.MONTHLY, Frequency.YEARLY):
        if draw(st.booleans()):
            parts["BYDAY"] = _listed(draw(_weekdays | st.lists(_numbered, min_size=1)))
        if draw(st.booleans()):
            numbers = st.integers(1, 31) | st.integers(-31, -1)
            parts["BYMONTHDAY"] = _listed(draw(st.lists(numbers, min_size=1, unique=True)))
        if ("BYDAY" in parts or "BYMONTHDAY" in parts) and draw(st.booleans()):
            parts["BYSETPOS"] = _listed(draw(st.lists(st.sampled_from([1, 2, -1, -2]), min_size=1)))
    elif draw(st.booleans()):
        parts["BYDAY"] = _listed(draw(_weekdays))
    if frequency == Frequency.YEARLY and draw(st.booleans()):
        parts["BYYEARDAY"] = _listed(draw(st.lists(st.sampled_from([1, 60, 100, 366, -1]), min_size=1)))
    if draw(st.booleans()):
        parts["WKST"] = draw(st.sampled_from(["MO", "SU", "WE"]))
    return ";".join(f"{name}={value}" for name, value in parts.items())


# The calendar repeats itself after 400 years. Near the last year of all, dateutil need not look far.
_AGES, _LAST = 8_000, date(9999, 12, 20)


@settings(max_examples=150, deadline=None)
@given(rules(), st.dates(date(1986, 1, 1), date(1994, 12, 31)))
def test_the_days_are_those_of_dateutil(text: str, start: date) -> None:
    begin = datetime(start.year + _AGES, start.month, start.day)
    # WKST is Monday where the rule does not say, as the RFC has it.
    theirs = [*_dates(rrulestr(text if "WKST" in text else f"{text};WKST=MO", dtstart=begin))]
    last = _LAST.replace(year=_LAST.year - _AGES)
    ours = list(takewhile(lambda day: day <= last, days(read_rule(text), start)))
    ours = [day.replace(year=day.year + _AGES) for day in ours]
    assert ours == theirs


def _dates(found: Iterable[datetime]) -> Iterator[date]:
    # Its search fails where dates end.
    with suppress(ValueError, OverflowError):
        for one in found:
            if one.date() > _LAST:
                return
            yield one.date()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("FREQ=YEARLY;BYYEARDAY=366", date(2026, 1, 1)),
        ("FREQ=YEARLY;BYYEARDAY=366", date(2028, 12, 31)),
        ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=29", date(2028, 2, 29)),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", date(2028, 2, 29)),
        ("FREQ=DAILY;INTERVAL=3;BYMONTH=2;BYMONTHDAY=29", date(2028, 2, 29)),
        ("FREQ=YEARLY;BYDAY=53MO;WKST=MO", date(2028, 1, 3)),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;WKST=MO", date(2028, 2, 29)),
        ("FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR;BYMONTH=10;WKST=MO", date(2026, 1, 1)),
        ("FREQ=MONTHLY;INTERVAL=1000;BYDAY=MO,TU,WE,TH,FR,SA,SU;WKST=MO", date(2026, 1, 1)),
        ("FREQ=YEARLY;INTERVAL=90;BYDAY=MO,TU,WE,TH,FR,SA,SU;WKST=MO", date(2026, 1, 1)),
        ("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366;WKST=MO", date(2026, 1, 1)),
        ("FREQ=YEARLY;INTERVAL=3;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366;WKST=MO", date(2026, 1, 1)),
        ("FREQ=DAILY;INTERVAL=994;BYDAY=WE;BYMONTH=1,2;WKST=MO", date(2026, 1, 7)),
        ("FREQ=WEEKLY;INTERVAL=53;BYDAY=MO,SU;BYMONTH=1;BYSETPOS=-1;WKST=SU", date(2026, 1, 4)),
    ],
)
def test_a_day_that_is_rare_comes_for_as_long_as_there_are_years(text: str, start: date) -> None:
    begun = time.process_time()
    ours = [*days(read_rule(text), start)]
    assert time.process_time() - begun < 0.2
    begin = datetime(start.year, start.month, start.day)
    # An end, as dateutil looks for the next day until the year 9999.
    theirs = rrulestr(f"{text};UNTIL={LAST_YEAR}1231", dtstart=begin)
    assert ours == [one.date() for one in theirs]
    assert len(ours) > 3

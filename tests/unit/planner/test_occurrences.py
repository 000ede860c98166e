"""Occurrences: the same clock time before and after clocks are changed, and whole days that stay whole."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from little_monster.platform.services.planner.drafts import BadEvent, Draft, settle
from little_monster.platform.services.planner.occurrences import Series
from little_monster.platform.services.planner.reminders import next_reminder

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Stored:
    """Columns as a row has them."""

    def __init__(self, **draft: object) -> None:
        self.__dict__.update(settle(Draft(title="T", **draft), NOW))  # type: ignore[arg-type]


def series(**draft: object) -> Series:
    return Series.of(Stored(**draft))  # type: ignore[arg-type]


def starts(found: Series, begin: datetime, end: datetime) -> list[str]:
    return [one.start.isoformat() for one in found.between(begin, end)]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("zone", "first", "expected"),
    [
        # Berlin puts clocks forward on 29 March 2026, New York on 8 March.
        ("Europe/Berlin", datetime(2026, 3, 27, 9), ["27T08", "28T08", "29T07", "30T07"]),
        ("America/New_York", datetime(2026, 3, 6, 9), ["06T14", "07T14", "08T13", "09T13"]),
        # And back on 25 October and 1 November.
        ("Europe/Berlin", datetime(2026, 10, 24, 9), ["24T07", "25T08", "26T08", "27T08"]),
        ("America/New_York", datetime(2026, 10, 31, 9), ["31T13", "01T14", "02T14", "03T14"]),
        ("UTC", datetime(2026, 3, 28, 9), ["28T09", "29T09", "30T09", "31T09"]),
    ],
)
def test_a_series_keeps_its_clock_time(zone: str, first: datetime, expected: list[str]) -> None:
    found = series(start_date=first, time_zone=zone, recurrence="FREQ=DAILY;COUNT=4")
    assert [text[8:13] for text in starts(found, NOW, utc(2027, 1, 1))] == expected
    assert {(one.start.astimezone(ZoneInfo(zone)).hour) for one in found.between(NOW, utc(2027, 1, 1))} == {9}


def test_a_clock_time_that_is_skipped_is_no_occurrence_and_does_not_count() -> None:
    found = series(
        start_date=datetime(2026, 3, 28, 2, 30), time_zone="Europe/Berlin", recurrence="FREQ=DAILY;COUNT=3"
    )
    assert starts(found, NOW, utc(2027, 1, 1)) == [
        "2026-03-28T01:30:00+00:00",
        "2026-03-30T00:30:00+00:00",
        "2026-03-31T00:30:00+00:00",
    ]


def test_of_a_clock_time_that_comes_twice_the_first_counts() -> None:
    found = series(
        start_date=datetime(2026, 10, 24, 2, 30), time_zone="Europe/Berlin", recurrence="FREQ=DAILY;COUNT=2"
    )
    assert starts(found, NOW, utc(2027, 1, 1)) == ["2026-10-24T00:30:00+00:00", "2026-10-25T00:30:00+00:00"]


def test_a_series_that_begins_at_the_second_of_two_equal_clock_times() -> None:
    # 2:30 in winter time; the year after, that day has the hour twice as well.
    found = series(
        start_date=utc(2026, 10, 25, 1, 30),
        time_zone="Europe/Berlin",
        recurrence="FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;COUNT=2",
    )
    assert starts(found, NOW, utc(2028, 1, 1)) == ["2026-10-25T01:30:00+00:00", "2027-10-31T00:30:00+00:00"]


def test_a_series_cannot_begin_at_a_time_that_is_skipped() -> None:
    with pytest.raises(BadEvent, match="skipped by the clocks"):
        series(start_date=datetime(2026, 3, 29, 2, 30), time_zone="Europe/Berlin", recurrence="FREQ=DAILY")
    single = series(start_date=datetime(2026, 3, 29, 2, 30), time_zone="Europe/Berlin")
    assert single.start == utc(2026, 3, 29, 1, 30)


def test_an_occurrence_lasts_as_long_as_the_first() -> None:
    found = series(
        start_date=datetime(2026, 3, 28, 23),
        end_date=datetime(2026, 3, 29, 6),
        time_zone="Europe/Berlin",
        recurrence="FREQ=DAILY;COUNT=2",
    )
    # The first night is an hour short.
    assert [one.end - one.start for one in found.between(NOW, utc(2027, 1, 1))] == [timedelta(hours=6)] * 2


def test_whole_days_are_from_midnight_to_midnight() -> None:
    found = series(
        start_date=datetime(2026, 3, 28),
        time_zone="Europe/Berlin",
        all_day=True,
        recurrence="FREQ=DAILY;COUNT=3",
    )
    assert [(one.start, one.end) for one in found.between(NOW, utc(2027, 1, 1))] == [
        (utc(2026, 3, 27, 23), utc(2026, 3, 28, 23)),
        (utc(2026, 3, 28, 23), utc(2026, 3, 29, 22)),
        (utc(2026, 3, 29, 22), utc(2026, 3, 30, 22)),
    ]


@pytest.mark.parametrize("first", [23, 24])
def test_a_day_without_a_midnight_is_a_day(first: int) -> None:
    # In Cairo the 24th of April 2026 begins at one o'clock.
    cairo = "Africa/Cairo"
    found = series(
        start_date=datetime(2026, 4, first), time_zone=cairo, all_day=True, recurrence="FREQ=DAILY;COUNT=3"
    )
    begun = [one.start.astimezone(ZoneInfo(cairo)) for one in found.between(NOW, utc(2027, 1, 1))]
    assert [one.day for one in begun] == [first, first + 1, first + 2]
    assert [one.hour for one in begun] == [int(one.day == 24) for one in begun]


@pytest.mark.parametrize(
    ("given", "stored", "last"),
    [
        ("20260110", "20260110T225959Z", "2026-01-10T08:00:00+00:00"),
        ("20260110T090000", "20260110T080000Z", "2026-01-10T08:00:00+00:00"),
        ("20260110T075959Z", "20260110T075959Z", "2026-01-09T08:00:00+00:00"),
    ],
)
def test_until_takes_its_last_day_in(given: str, stored: str, last: str) -> None:
    found = series(
        start_date=datetime(2026, 1, 8, 9), time_zone="Europe/Berlin", recurrence=f"FREQ=DAILY;UNTIL={given}"
    )
    assert found.rule is not None
    assert found.rule.text() == f"FREQ=DAILY;UNTIL={stored}"
    assert starts(found, NOW, utc(2027, 1, 1))[-1] == last


def test_until_of_whole_days_is_a_day() -> None:
    found = series(
        start_date=datetime(2026, 1, 8),
        time_zone="America/New_York",
        all_day=True,
        recurrence="FREQ=DAILY;UNTIL=20260110T045959Z",
    )
    assert found.rule is not None
    assert found.rule.text() == "FREQ=DAILY;UNTIL=20260109"
    assert len(starts(found, NOW, utc(2027, 1, 1))) == 2


def test_exdates_leave_occurrences_out_but_count() -> None:
    found = series(
        start_date=datetime(2026, 3, 27, 9),
        time_zone="Europe/Berlin",
        recurrence="FREQ=DAILY;COUNT=4",
        exdates=[datetime(2026, 3, 27, 9), utc(2026, 3, 29, 7)],
    )
    assert starts(found, NOW, utc(2027, 1, 1)) == ["2026-03-28T08:00:00+00:00", "2026-03-30T07:00:00+00:00"]


def test_a_range_takes_what_lasts_into_it_and_not_what_only_touches_it() -> None:
    found = series(
        start_date=utc(2026, 5, 1, 22), end_date=utc(2026, 5, 2, 2), recurrence="FREQ=DAILY;COUNT=5"
    )
    begin, end = utc(2026, 5, 3), utc(2026, 5, 4, 22)
    assert starts(found, begin, end) == ["2026-05-02T22:00:00+00:00", "2026-05-03T22:00:00+00:00"]
    instant = series(start_date=utc(2026, 5, 3))
    assert starts(instant, begin, end) == ["2026-05-03T00:00:00+00:00"]
    assert starts(instant, utc(2026, 5, 2), begin) == []


def test_a_range_far_from_the_start_of_a_series() -> None:
    found = series(
        start_date=datetime(1980, 1, 7, 8), time_zone="Europe/Berlin", recurrence="FREQ=WEEKLY;INTERVAL=2"
    )
    monday = starts(found, utc(2026, 6, 1), utc(2026, 7, 1))
    assert monday == ["2026-06-08T06:00:00+00:00", "2026-06-22T06:00:00+00:00"]
    assert (date(2026, 6, 8) - date(1980, 1, 7)).days % 14 == 0


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        ({"start_date": utc(2026, 1, 2), "end_date": utc(2026, 1, 1)}, "end_date"),
        ({"start_date": utc(2026, 1, 2), "end_date": utc(2027, 1, 4)}, "end_date"),
        ({"start_date": utc(9999, 12, 31)}, "start_date"),
        ({"start_date": utc(1, 1, 1)}, "start_date"),
        ({"start_date": utc(2026, 1, 2), "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"start_date": utc(2026, 1, 2), "time_zone": "../../etc/passwd"}, "time_zone"),
        ({"start_date": utc(2026, 1, 2), "recurrence": "FREQ=SECONDLY"}, "recurrence"),
        ({"start_date": utc(2026, 1, 2), "recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "recurrence"),
        ({"start_date": utc(2026, 1, 2), "recurrence": "FREQ=DAILY;UNTIL=20260101"}, "recurrence"),
        ({"start_date": utc(2026, 1, 2), "reminder_minutes": [50_000]}, "reminder_minutes"),
        ({"start_date": utc(2026, 1, 2), "reminder_minutes": range(11)}, "reminder_minutes"),
        (
            {
                "start_date": utc(2026, 1, 2),
                "recurrence": "FREQ=DAILY",
                "exdates": [utc(2026, 1, 2) + timedelta(days=n) for n in range(501)],
            },
            "exdates",
        ),
        ({"start_date": utc(2026, 1, 2), "location": "x" * 501}, "location"),
        ({"start_date": utc(2026, 1, 2), "description": "a\x00b"}, "description"),
    ],
)
def test_a_wrong_field_is_named(draft: dict[str, object], field: str) -> None:
    with pytest.raises(BadEvent) as caught:
        series(**draft)
    assert caught.value.field == field


def test_the_next_reminder_is_the_earliest_that_is_left() -> None:
    found = series(start_date=datetime(2026, 3, 28, 9), time_zone="Europe/Berlin", recurrence="FREQ=DAILY")
    at = utc(2026, 3, 28, 7, 30)
    minutes = [15, 60, 24 * 60]
    order = []
    for _ in range(4):
        following = next_reminder(found, minutes, after=at, now=at)
        assert following is not None
        at, start = following
        order.append((at, start))
    assert order == [
        (utc(2026, 3, 28, 7, 45), utc(2026, 3, 28, 8)),
        (utc(2026, 3, 29, 6), utc(2026, 3, 29, 7)),
        (utc(2026, 3, 29, 6, 45), utc(2026, 3, 29, 7)),
        (utc(2026, 3, 29, 7), utc(2026, 3, 30, 7)),
    ]


def test_what_has_begun_long_ago_is_not_reminded_of() -> None:
    found = series(start_date=utc(2026, 3, 1, 9), recurrence="FREQ=DAILY")
    late = next_reminder(found, [10], after=utc(2026, 3, 1, 8, 50), now=utc(2026, 3, 20, 12))
    assert late == (utc(2026, 3, 21, 8, 50), utc(2026, 3, 21, 9))
    assert next_reminder(series(start_date=utc(2026, 3, 1)), [10], after=NOW, now=utc(2026, 4, 1)) is None

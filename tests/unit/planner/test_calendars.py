"""A planner as a calendar file, read back by the `icalendar` package, and as events again."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import pytest
from dateutil.rrule import rrulestr

from little_monster.db.base import new_id
from little_monster.db.models import EventType, PlannerEvent, Subject
from little_monster.platform.services.planner.calendars import render_calendar
from little_monster.platform.services.planner.drafts import Draft, settle
from little_monster.platform.services.planner.entries import read_entry
from little_monster.platform.services.planner.ics import read_calendars
from little_monster.platform.services.planner.merges import without_replaced
from little_monster.platform.services.planner.occurrences import Series

CHANGED = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)


def event(**draft: Any) -> PlannerEvent:
    values = settle(Draft(**{"title": "Optics", **draft}), CHANGED)
    return PlannerEvent(
        id=new_id(), uid="e1@test", sequence=3, created_at=CHANGED, updated_at=CHANGED, **values
    )


LECTURE: dict[str, Any] = {
    "title": "Linear algebra; Übung, Teil 2",
    "description": "Bring:\n- paper\n- a \\ backslash " + "and a long line " * 20,
    "location": "Hörsaal 1, Nord",
    "subject": Subject.MATHEMATICS,
    "type": EventType.CLASS,
    "start_date": datetime(2026, 3, 23, 9, 15),
    "end_date": datetime(2026, 3, 23, 10, 45),
    "time_zone": "Europe/Berlin",
    "recurrence": "FREQ=WEEKLY;BYDAY=MO;UNTIL=20260501",
    "exdates": [datetime(2026, 4, 6, 9, 15)],
    "reminder_minutes": [15, 1440],
}


def read_back(row: PlannerEvent) -> tuple[icalendar.Calendar, icalendar.Event]:
    calendar = icalendar.Calendar.from_ical(render_calendar([row]))
    (found,) = calendar.events
    return calendar, found


def test_a_series_is_read_back_with_all_that_it_has() -> None:
    calendar, found = read_back(event(**LECTURE))
    assert (str(calendar["version"]), str(calendar["prodid"])) == ("2.0", "-//Little Monster//Planner//EN")
    assert (str(found["uid"]), int(found["sequence"])) == ("e1@test", 3)
    assert found["dtstamp"].dt == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert str(found["summary"]) == LECTURE["title"]
    assert str(found["description"]) == LECTURE["description"]
    assert str(found["location"]) == LECTURE["location"]
    assert found["dtstart"].dt == datetime(2026, 3, 23, 9, 15, tzinfo=ZoneInfo("Europe/Berlin"))
    assert found["dtstart"].params["TZID"] == "Europe/Berlin"
    assert found["dtend"].dt - found["dtstart"].dt == timedelta(minutes=90)
    assert found["rrule"]["until"] == [datetime(2026, 5, 1, 21, 59, 59, tzinfo=UTC)]
    assert found.exdates == [datetime(2026, 4, 6, 9, 15, tzinfo=ZoneInfo("Europe/Berlin"))]
    assert found.categories == ["class", "mathematics"]
    triggers = [alarm["trigger"].dt for alarm in found.walk("VALARM")]
    assert triggers == [timedelta(minutes=-15), timedelta(days=-1)]
    assert found.errors == []


def test_the_time_zone_of_the_file_gives_the_occurrences_that_we_give() -> None:
    row = event(**LECTURE)
    calendar, found = read_back(row)
    (zone,) = calendar.timezones
    # Its own rules alone, not those that Python knows by the name.
    local = zone.to_tz(lookup_tzid=False)
    start = found["dtstart"].dt.replace(tzinfo=local)
    theirs = [*rrulestr(found["rrule"].to_ical().decode(), dtstart=start)]
    ours = [*Series.of(row).starts()]
    skipped = datetime(2026, 4, 6, 7, 15, tzinfo=UTC)
    assert [one.astimezone(UTC) for one in theirs if one.astimezone(UTC) != skipped] == ours
    assert {one.utcoffset() for one in theirs} == {timedelta(hours=1), timedelta(hours=2)}


def test_whole_days_are_days_in_the_file() -> None:
    _, found = read_back(
        event(
            start_date=datetime(2026, 3, 28),
            end_date=datetime(2026, 3, 30),
            all_day=True,
            time_zone="America/New_York",
            recurrence="FREQ=YEARLY;UNTIL=20300101",
            exdates=[datetime(2027, 3, 28)],
        )
    )
    assert (found["dtstart"].dt, found["dtend"].dt) == (date(2026, 3, 28), date(2026, 3, 30))
    assert found["dtstart"].params["VALUE"] == "DATE"
    assert found["rrule"]["until"] == [date(2030, 1, 1)]
    assert found.exdates == [date(2027, 3, 28)]


def test_utc_needs_no_time_zone() -> None:
    calendar, found = read_back(event(start_date=datetime(2026, 3, 28, 9)))
    assert calendar.timezones == []
    assert found["dtstart"].to_ical() == b"20260328T090000Z"


def test_lines_are_folded_and_end_as_the_rfc_says() -> None:
    file = render_calendar([event(**LECTURE)])
    assert file.endswith(b"END:VCALENDAR\r\n")
    lines = file.split(b"\r\n")
    assert all(len(line) <= 75 and b"\n" not in line for line in lines)


def test_a_file_without_events_is_a_calendar() -> None:
    assert icalendar.Calendar.from_ical(render_calendar([])).events == []


@pytest.mark.parametrize(
    "draft",
    [
        LECTURE,
        {"start_date": datetime(2026, 3, 28, 9), "type": EventType.OTHER, "subject": Subject.OTHER},
        {
            "start_date": datetime(2026, 3, 28),
            "all_day": True,
            "recurrence": "FREQ=MONTHLY;BYDAY=-1SA;COUNT=4",
        },
        {"start_date": datetime(2026, 3, 28, 1), "time_zone": "Asia/Kolkata", "title": "a\"b'c;d,e\\n"},
    ],
)
def test_our_own_file_gives_the_same_event(draft: dict[str, Any]) -> None:
    row = event(**draft)
    (calendar,) = read_calendars(render_calendar([row]))
    (component,) = calendar.inside("VEVENT")
    entry = read_entry(component, "UTC", 0)
    assert (entry.uid, entry.sequence, entry.replaces, entry.cancelled) == ("e1@test", 3, None, False)
    for name, value in settle(entry.draft, CHANGED).items():
        assert getattr(row, name) == value, name


def read_series(rows: list[PlannerEvent]) -> list[tuple[datetime, timedelta]]:
    """The times of a file, by our own reading of it."""
    (calendar,) = read_calendars(render_calendar(rows))
    read = [read_entry(one, "UTC", number) for number, one in enumerate(calendar.inside("VEVENT"))]
    found = []
    for entry in without_replaced(read):
        row = PlannerEvent(uid="x", **settle(entry.draft, CHANGED))
        found += [*Series.of(row).between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC))]
    return sorted((one.start, one.end - one.start) for one in found)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        # Clocks in Berlin show 2:00 to 3:00 twice on that day.
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), None),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2026, 10, 25, 5, tzinfo=UTC)),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 15, tzinfo=UTC)),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 2, 15, tzinfo=UTC)),
    ],
)
def test_a_clock_time_that_comes_twice_is_the_moment_that_was_meant(
    start: datetime, end: datetime | None
) -> None:
    row = event(start_date=start, end_date=end, time_zone="Europe/Berlin")
    assert read_series([row]) == [(start, (end or start) - start)]
    _, found = read_back(row)
    assert found["dtstart"].dt.astimezone(UTC) == start
    if end is not None:
        assert found["dtend"].dt.astimezone(UTC) == end


@pytest.mark.parametrize("exdates", [[], [datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]])
def test_a_series_that_begins_at_such_a_time(exdates: list[datetime]) -> None:
    row = event(
        start_date=datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        end_date=datetime(2026, 10, 25, 2, 30, tzinfo=UTC),
        time_zone="Europe/Berlin",
        recurrence="FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;COUNT=2",
        exdates=exdates,
    )
    times = [datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2027, 10, 31, 0, 30, tzinfo=UTC)]
    assert read_series([row]) == [(one, timedelta(hours=1)) for one in times if one not in exdates]


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
@pytest.mark.parametrize(
    "draft", [{"start_date": datetime(2026, 7, 1, 9), "recurrence": "FREQ=DAILY"}, {}], ids=["series", "late"]
)
def test_the_time_zone_of_the_file_holds_for_as_long_as_its_events(name: str, draft: dict[str, Any]) -> None:
    row = event(**{"start_date": datetime(2197, 7, 1, 9), "time_zone": name, **draft})
    calendar, _ = read_back(row)
    (zone,) = calendar.timezones
    local, known = zone.to_tz(lookup_tzid=False), ZoneInfo(name)
    for year in (2026, 2037, 2038, 2060, 2120, 2197):
        for month in (1, 4, 7, 10, 12):
            moment = datetime(year, month, 15, 12)
            assert moment.replace(tzinfo=local).utcoffset() == moment.replace(tzinfo=known).utcoffset()


def test_a_time_zone_is_short_for_events_that_are_over_soon() -> None:
    row = event(start_date=datetime(2026, 7, 1, 9), time_zone="Europe/Berlin")
    late = event(start_date=datetime(2040, 7, 1, 9), time_zone="Europe/Berlin")
    assert len(render_calendar([row])) < 4_000 < len(render_calendar([row, late]))


def test_an_event_without_a_length_has_no_end() -> None:
    _, found = read_back(event(start_date=datetime(2026, 7, 1, 9)))
    assert "dtend" not in found


def test_control_characters_do_not_get_into_a_file() -> None:
    row = event(start_date=datetime(2026, 7, 1, 9))
    row.title, row.description, row.location = "a\x07b", "a\rb\x0bc\td", "a\x00\x7fb"
    _, found = read_back(row)
    assert (found["summary"], found["description"], found["location"]) == ("ab", "a\nbc\td", "ab")
    assert not set(render_calendar([row])) & {0, 7, 11, 127}
    # Nor do they stand in the way of another change.
    assert settle(replace(Draft.of(row), is_completed=True), CHANGED)["title"] == "ab"


def test_unusual_ends_of_lines_are_texts_like_others() -> None:
    row = event(start_date=datetime(2026, 7, 1, 9), title="a\u2028b\u0085c", description="\u2029")
    (calendar,) = read_calendars(render_calendar([row]))
    (component,) = calendar.inside("VEVENT")
    draft = read_entry(component, "UTC", 0).draft
    assert (draft.title, draft.description) == (row.title, row.description)

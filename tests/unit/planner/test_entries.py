"""Entries of calendar files as other programs write them: what they mean, and what is refused."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from little_monster.db.models import EventType, Subject
from little_monster.platform.services.planner.drafts import BadEvent, settle
from little_monster.platform.services.planner.entries import Entry, read_entry, zone_of
from little_monster.platform.services.planner.ics import BadCalendar, Component, read_calendars

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def component(*lines: str) -> Component:
    text = "\r\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR", ""])
    (calendar,) = read_calendars(text.encode())
    (found,) = calendar.inside("VEVENT")
    return found


def entry(*lines: str, zone: str = "UTC") -> Entry:
    return read_entry(component("UID:1", *lines), zone, 0)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("line", "zone", "start"),
    [
        ("DTSTART:20260328T090000Z", "UTC", utc(2026, 3, 28, 9)),
        ("DTSTART:20260328T090000", "Asia/Tokyo", utc(2026, 3, 28)),
        ("DTSTART;TZID=Europe/Berlin:20260329T090000", "Europe/Berlin", utc(2026, 3, 29, 7)),
        ('DTSTART;TZID="Europe/Berlin":20260329T090000', "Europe/Berlin", utc(2026, 3, 29, 7)),
        ("DTSTART;TZID=W. Europe Standard Time:20260329T090000", "Europe/Berlin", utc(2026, 3, 29, 7)),
        (
            "DTSTART;TZID=/freeassociation.sourceforge.net/America/New_York:20260309T090000",
            "America/New_York",
            utc(2026, 3, 9, 13),
        ),
        ("DTSTART;VALUE=DATE:20260328", "Asia/Tokyo", utc(2026, 3, 27, 15)),
    ],
)
def test_a_start_is_a_moment_in_its_time_zone(line: str, zone: str, start: datetime) -> None:
    draft = entry(line, zone="Asia/Tokyo").draft
    values = settle(draft, NOW)
    assert (values["time_zone"], values["start_date"]) == (zone, start)
    assert values["all_day"] == ("VALUE=DATE" in line)


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        (["DTSTART:20260328T090000Z"], timedelta()),
        (["DTSTART;VALUE=DATE:20260328"], timedelta(days=1)),
        (["DTSTART;VALUE=DATE:20260328", "DTEND;VALUE=DATE:20260330"], timedelta(days=2)),
        (["DTSTART;VALUE=DATE:20260328", "DURATION:P3D"], timedelta(days=3)),
        (["DTSTART:20260328T090000Z", "DURATION:PT1H30M"], timedelta(minutes=90)),
        (["DTSTART:20260328T090000Z", "DTEND;TZID=Europe/Berlin:20260328T110000"], timedelta(hours=1)),
        # Clocks in Berlin are put forward on the 29th: a day is 23 hours, and 24 hours are not a day.
        (["DTSTART;TZID=Europe/Berlin:20260328T090000", "DURATION:P1D"], timedelta(hours=23)),
        (["DTSTART;TZID=Europe/Berlin:20260328T090000", "DURATION:P1W"], timedelta(hours=167)),
        (["DTSTART;TZID=Europe/Berlin:20260328T090000", "DURATION:P1DT2H"], timedelta(hours=25)),
        (["DTSTART;TZID=Europe/Berlin:20260328T090000", "DURATION:PT24H"], timedelta(hours=24)),
        (["DTSTART:20260328T090000Z", "DURATION:P1D"], timedelta(hours=24)),
    ],
)
def test_how_long_an_event_lasts(lines: list[str], length: timedelta) -> None:
    values = settle(entry(*lines).draft, NOW)
    assert values["end_date"] - values["start_date"] == length


def test_what_other_programs_say_of_an_event() -> None:
    found = entry(
        "SUMMARY:Final\\, part 2",
        "DESCRIPTION:Line one\\nLine two with a fol",
        " ded end",
        "LOCATION:Room 7",
        "CATEGORIES:Physics,Exam",
        "SEQUENCE:4",
        "DTSTART;TZID=Europe/Berlin:20260323T090000",
        "RRULE:FREQ=WEEKLY;COUNT=5",
        "EXDATE;TZID=Europe/Berlin:20260330T090000,20260406T090000",
        "EXDATE;VALUE=DATE:20260413",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        "TRIGGER:-PT30M",
        "END:VALARM",
        "BEGIN:VALARM",
        "TRIGGER;VALUE=DATE-TIME:20260323T070000Z",
        "END:VALARM",
        "BEGIN:VALARM",
        "TRIGGER;RELATED=END:-PT5M",
        "END:VALARM",
        "X-UNKNOWN;A=1,2:whatever",
    )
    values = settle(found.draft, NOW)
    assert found.sequence == 4
    assert (values["title"], values["location"]) == ("Final, part 2", "Room 7")
    assert values["description"] == "Line one\nLine two with a folded end"
    assert (values["type"], values["subject"]) == (EventType.EXAM, Subject.PHYSICS)
    assert values["exdates"] == [utc(2026, 3, 30, 7), utc(2026, 4, 6, 7), utc(2026, 4, 13, 7)]
    assert values["reminder_minutes"] == [30]
    assert (values["next_reminder_at"], values["next_reminder_for"]) == (
        utc(2026, 3, 23, 7, 30),
        utc(2026, 3, 23, 8),
    )


def test_an_occurrence_of_its_own_and_a_cancelled_one() -> None:
    found = entry("RECURRENCE-ID;TZID=Europe/Berlin:20260330T090000", "DTSTART:20260331T090000Z")
    assert (found.replaces, found.cancelled) == (utc(2026, 3, 30, 7), False)
    assert entry("DTSTART:20260331T090000Z", "STATUS:CANCELLED").cancelled


def test_the_time_zone_of_a_calendar() -> None:
    (calendar,) = read_calendars(b"BEGIN:VCALENDAR\nX-WR-TIMEZONE:Europe/Berlin\nEND:VCALENDAR\n")
    assert zone_of(calendar) == "Europe/Berlin"
    (calendar,) = read_calendars(b"BEGIN:VCALENDAR\nX-WR-TIMEZONE:Nowhere\nEND:VCALENDAR\n")
    assert zone_of(calendar) is None


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([], "DTSTART"),
        (["DTSTART:2026-03-28"], "DTSTART"),
        (["DTSTART:99991231T235959Z"], "DTSTART"),
        (["DTSTART;TZID=Mars/Olympus:20260328T090000"], "DTSTART"),
        (["DTSTART:20260328T090000Z", "DTEND:soon"], "DTEND"),
        (["DTSTART:20260328T090000Z", "DURATION:long"], "DURATION"),
        (["DTSTART:20260328T090000Z", "DURATION:P" + "9" * 5000 + "W"], "DURATION"),
        (["DTSTART:20260328T090000Z", "DURATION:P"], "DURATION"),
        (["DTSTART:20260328T090000Z", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260328T090000Z"], "RECURRENCE-ID"),
        (["DTSTART:20260328T090000Z", "RDATE:20260401T090000Z"], "RDATE"),
        (["DTSTART:20260328T090000Z", "EXRULE:FREQ=DAILY"], "EXRULE"),
        (["DTSTART:20260328T090000Z", "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"], "RRULE"),
        (["DTSTART:20260328T090000Z", "EXDATE:never"], "EXDATE"),
        (["DTSTART:20260328T090000Z", "no line at all"], "VEVENT"),
    ],
)
def test_an_entry_that_cannot_be_kept_is_refused(lines: list[str], field: str) -> None:
    with pytest.raises(BadEvent) as caught:
        entry(*lines)
    assert caught.value.field == field


@pytest.mark.parametrize("uid", ["", "x" * 300, "a\x00b", "a\x0bb"])
def test_an_entry_needs_a_uid(uid: str) -> None:
    with pytest.raises(BadEvent) as caught:
        read_entry(component(f"UID:{uid}", "DTSTART:20260328T090000Z"), "UTC", 0)
    assert caught.value.field == "UID"


@pytest.mark.parametrize("length", ["P9999999W", "-P9999999W", "P" + "9" * 30 + "D", "PT999999999H", "-PT1S"])
def test_an_end_that_no_date_has_is_refused(length: str) -> None:
    with pytest.raises(BadEvent):
        settle(entry("DTSTART:20260328T090000Z", f"DURATION:{length}").draft, NOW)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "BEGIN:VCALENDAR"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"json": true}', "outside"),
        (b"BEGIN:VCARD\r\nEND:VCARD\r\n", "BEGIN:VCALENDAR"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n", "ends nothing"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "VEVENT does not end"),
        (b"END:VCALENDAR\r\n", "ends nothing"),
        (b"BEGIN:VCALENDAR\r\n" * 1000, "More than"),
    ],
)
def test_a_file_that_is_no_calendar_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BadCalendar, match=why):
        read_calendars(content)


def test_time_zones_of_a_file_are_not_evaluated() -> None:
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:+0000\r\nTZOFFSETTO:+1100\r\nRRULE:FREQ=SECONDLY\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
    )
    event = "BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20260329T090000\r\nEND:VEVENT\r\n"
    begun = time.process_time()
    (calendar,) = read_calendars(f"BEGIN:VCALENDAR\r\n{zone}{event}END:VCALENDAR\r\n".encode())
    (found,) = calendar.inside("VEVENT")
    assert settle(read_entry(found, "UTC", 0).draft, NOW)["start_date"] == utc(2026, 3, 29, 7)
    assert time.process_time() - begun < 1

"""Calendar files into the planner: all of a file or nothing, and the same file again changes nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

IMPORT = "/api/v1/planner/import"
EVENTS = "/api/v1/planner/events"


def file(*events: str) -> str:
    body = "".join(f"BEGIN:VEVENT\r\n{one}\r\nEND:VEVENT\r\n" for one in events)
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\n{body}END:VCALENDAR\r\n"


def event(uid: str, *lines: str, start: str = "DTSTART:20260504T100000Z") -> str:
    return "\r\n".join([f"UID:{uid}", "DTSTAMP:20260101T000000Z", start, *lines])


async def send(client: httpx.AsyncClient, account: Any, content: str | bytes, **query: str) -> httpx.Response:
    headers = {**account.headers, "Content-Type": "text/calendar"}
    return await client.post(IMPORT, content=content, headers=headers, params=query)


async def stored(client: httpx.AsyncClient, account: Any) -> dict[str, dict[str, Any]]:
    response = await client.get(f"{EVENTS}?limit=100", headers=account.headers)
    return {one["uid"]: one for one in response.json()["items"]}


async def test_events_are_stored_once(client: httpx.AsyncClient, account: Any) -> None:
    content = file(
        event("a", "SUMMARY:Optics", "RRULE:FREQ=WEEKLY;COUNT=3", "CATEGORIES:class,physics"),
        event("b", "SUMMARY:Holiday", start="DTSTART;VALUE=DATE:20260601"),
    )
    first = await send(client, account, content, time_zone="Europe/Berlin")
    assert first.status_code == 200, first.text
    assert first.json() == {"created": 2, "updated": 0, "unchanged": 0, "deleted": 0, "ignored": 0}
    before = await stored(client, account)
    assert (before["a"]["title"], before["a"]["recurrence"]) == ("Optics", "FREQ=WEEKLY;COUNT=3")
    assert (before["a"]["type"], before["a"]["subject"]) == ("class", "physics")
    assert (before["b"]["all_day"], before["b"]["start_date"]) == (True, "2026-05-31T22:00:00Z")
    again = await send(client, account, content)
    assert again.json() == {"created": 0, "updated": 0, "unchanged": 2, "deleted": 0, "ignored": 0}
    assert await stored(client, account) == before


async def test_an_event_that_is_there_becomes_what_the_file_says(
    client: httpx.AsyncClient, account: Any
) -> None:
    await send(client, account, file(event("a", "SUMMARY:Old", "SEQUENCE:2")))
    (old,) = (await stored(client, account)).values()
    path = old["_links"]["self"]["href"]
    await client.patch(path, json={"is_completed": True}, headers=account.headers)
    answer = await send(client, account, file(event("a", "SUMMARY:New", "SEQUENCE:7")))
    assert answer.json() == {"created": 0, "updated": 1, "unchanged": 0, "deleted": 0, "ignored": 0}
    (new,) = (await stored(client, account)).values()
    assert (new["id"], new["title"], new["sequence"], new["is_completed"]) == (old["id"], "New", 7, True)


async def test_our_own_feed_changes_nothing(client: httpx.AsyncClient, account: Any) -> None:
    bodies: list[dict[str, Any]] = [
        {"title": "Übung; 2", "start_date": "2027-03-01T09:00:00", "recurrence": "freq=weekly;wkst=su"},
        {"title": "Day", "start_date": "2027-03-01", "all_day": True, "reminder_minutes": [60]},
        {"title": "Plain", "start_date": "2027-03-01T09:00:00", "subject": "art", "description": "a\nb"},
    ]
    for body in bodies:
        made = await client.post(EVENTS, json={**body, "time_zone": "Asia/Tokyo"}, headers=account.headers)
        assert made.status_code == 201, made.text
    before = await stored(client, account)
    url = (await client.post("/api/v1/planner/feed", headers=account.headers)).json()["url"]
    answer = await send(client, account, (await client.get(url)).content)
    assert answer.json() == {"created": 0, "updated": 0, "unchanged": 3, "deleted": 0, "ignored": 0}
    assert await stored(client, account) == before


async def test_an_occurrence_of_its_own_leaves_its_series(client: httpx.AsyncClient, account: Any) -> None:
    content = file(
        event("a", "SUMMARY:Lecture", "RRULE:FREQ=DAILY;COUNT=4"),
        event("a", "SUMMARY:Moved", "RECURRENCE-ID:20260505T100000Z", start="DTSTART:20260505T180000Z"),
        event("a", "STATUS:CANCELLED", "RECURRENCE-ID:20260506T100000Z", start="DTSTART:20260506T100000Z"),
        event("b", "SUMMARY:Off", "STATUS:CANCELLED"),
    )
    for counts in ({"created": 2, "unchanged": 0}, {"created": 0, "unchanged": 2}):
        answer = await send(client, account, content)
        assert answer.json() == {"updated": 0, "deleted": 0, "ignored": 2, **counts}
    window = {"from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
    found = (await client.get(EVENTS, params=window, headers=account.headers)).json()["items"]
    assert [(one["title"], one["occurrence"]["start_date"][5:16]) for one in found] == [
        ("Lecture", "05-04T10:00"),
        ("Moved", "05-05T18:00"),
        ("Lecture", "05-07T10:00"),
    ]


async def test_one_bad_entry_stores_nothing_and_each_is_reported(
    client: httpx.AsyncClient, account: Any
) -> None:
    content = file(
        event("good"),
        event("no-end", "DTEND:yesterday"),
        event("absurd", "RRULE:FREQ=SECONDLY"),
        event("never", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"),
        "SUMMARY:Nobody",
        event("good"),
        event("long", f"SUMMARY:{'x' * 400}"),
        event("zone", start="DTSTART;TZID=Mars/Olympus:20260504T100000"),
    )
    answer = await send(client, account, content)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_events")
    reported = {one["field"]: one["message"] for one in answer.json()["errors"]}
    assert set(reported) == {
        "events.1.DTEND",
        "events.2.recurrence",
        "events.3.recurrence",
        "events.4.UID",
        "events.5.UID",
        "events.6.title",
        "events.7.DTSTART",
    }
    assert reported["events.2.recurrence"].startswith("UID absurd: FREQ=SECONDLY is not one of")
    assert reported["events.5.UID"] == "UID good: stands there twice"
    assert await stored(client, account) == {}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "malformed_calendar"),
        (b"\xff\xfe\x00", 422, "malformed_calendar"),
        (b"{}", 422, "malformed_calendar"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", 422, "malformed_calendar"),
        (file(*(event(str(n)) for n in range(1001))).encode(), 422, "too_many_events"),
        (b"BEGIN:VCALENDAR\r\n" + b"X:y\r\n" * 250_000 + b"END:VCALENDAR\r\n", 413, "too_large"),
    ],
)
async def test_what_is_no_calendar_is_refused(
    client: httpx.AsyncClient, account: Any, content: bytes, status: int, code: str
) -> None:
    answer = await send(client, account, content)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await stored(client, account) == {}


@pytest.mark.parametrize(
    "line",
    [
        "UID:{}",
        "RRULE:{}",
        "RRULE:FREQ={}",
        "RRULE:FREQ=DAILY;COUNT={}",
        "RRULE:FREQ=DAILY;UNTIL={}",
        "RRULE:FREQ=WEEKLY;BYDAY={}",
        "RRULE:FREQ=WEEKLY;WKST={}",
        "RRULE:{}=DAILY",
        "DTEND:{}",
        "DTEND;TZID={}:20260504T100000",
        "DURATION:{}",
        "SEQUENCE:{}",
        "EXDATE:{}",
        "RECURRENCE-ID:{}",
        "SUMMARY:{}",
    ],
)
@pytest.mark.parametrize("kind", ["long", "controls", "markup"])
async def test_what_an_error_quotes_is_short_and_does_nothing(
    client: httpx.AsyncClient, account: Any, line: str, kind: str
) -> None:
    hostile = {
        "long": "x" * 100_000,
        "controls": "\x1b[2J\x07\u202e\u2066\u200b\u2028\x7f" * 20_000,
        "markup": "<script>alert(1)</script>" * 4_000,
    }[kind]
    bad = event(hostile) if line == "UID:{}" else event("a", line.format(hostile))
    answer = await send(client, account, file(bad, f"{bad}\r\nDTEND:x"))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for told in answer.json()["errors"]:
        assert len(told["message"]) < 300
        assert told["message"].isprintable()
        assert told["field"].isascii()
        assert len(told["field"]) < 60
    assert len(answer.content) < 3_000
    assert await stored(client, account) == {}


@pytest.mark.parametrize("name", ["X" * 500_000, "\u202e\x1b[2J"])
async def test_a_component_that_does_not_end_is_named_in_short(
    client: httpx.AsyncClient, account: Any, name: str
) -> None:
    answer = await send(client, account, f"BEGIN:VCALENDAR\r\nBEGIN:{name}\r\n")
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_calendar")
    assert len(answer.content) < 1_000
    assert answer.json()["detail"].isprintable()


async def test_many_bad_events_are_told_of_a_hundred(client: httpx.AsyncClient, account: Any) -> None:
    content = file(*(event(f"{number}-{'u' * 200}", "DTEND:x") for number in range(500)))
    answer = await send(client, account, content)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 100
    assert len(answer.content) < 30_000


async def test_a_large_file_is_stored(client: httpx.AsyncClient, account: Any) -> None:
    content = file(*(event(f"uid-{n}", "DESCRIPTION:" + "words " * 60) for n in range(1000)))
    assert len(content) > 400_000
    assert (await send(client, account, content)).json()["created"] == 1000
    assert (await send(client, account, content)).json()["unchanged"] == 1000


async def test_a_wrong_time_zone_is_refused(client: httpx.AsyncClient, account: Any) -> None:
    answer = await send(client, account, file(event("a")), time_zone="Mars/Olympus")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.time_zone")


async def test_too_many_series_store_nothing(
    client: httpx.AsyncClient, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.platform.services.planner.events.MAX_SERIES", 1)
    content = file(event("a", "RRULE:FREQ=DAILY"), event("b", "RRULE:FREQ=DAILY"))
    answer = await send(client, account, content)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_series")
    assert await stored(client, account) == {}


async def test_the_same_uid_of_two_users(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, eve = await register(), await register()
    await send(client, ada, file(event("a", "SUMMARY:Hers")))
    answer = await send(client, eve, file(event("a", "SUMMARY:Mine")))
    assert answer.json()["created"] == 1
    assert (await stored(client, ada))["a"]["title"] == "Hers"
    assert (await stored(client, eve))["a"]["title"] == "Mine"


WINDOW = {"from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
SERIES = event("a", "SUMMARY:Lecture", "RRULE:FREQ=DAILY;COUNT=3", "SEQUENCE:1")


async def times(client: httpx.AsyncClient, account: Any) -> list[tuple[str, str]]:
    """What takes place in May: titles, and days with hours."""
    response = await client.get(EVENTS, params={**WINDOW, "limit": "100"}, headers=account.headers)
    found = response.json()["items"]
    return [(one["title"], one["occurrence"]["start_date"][8:13]) for one in found]


async def test_all_that_follow_an_occurrence_cannot_be_moved(client: httpx.AsyncClient, account: Any) -> None:
    content = file(SERIES, event("a", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260505T100000Z"))
    answer = await send(client, account, content)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "events.1.RECURRENCE-ID"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("replaced", ["RECURRENCE-ID:20260505T100000Z", "RECURRENCE-ID;VALUE=DATE:20260505"])
async def test_an_occurrence_of_its_own_takes_the_place_of_that_of_the_series(
    client: httpx.AsyncClient, account: Any, replaced: str, apart: bool
) -> None:
    moved = event("a", "SUMMARY:Moved", replaced, start="DTSTART:20260505T180000Z")
    if apart:
        await send(client, account, file(SERIES))
        answer = await send(client, account, file(moved))
        assert answer.json() == {"created": 1, "updated": 1, "unchanged": 0, "deleted": 0, "ignored": 0}
    else:
        await send(client, account, file(SERIES, moved))
    expected = [("Lecture", "04T10"), ("Moved", "05T18"), ("Lecture", "06T10")]
    assert await times(client, account) == expected
    again = await send(client, account, file(moved) if apart else file(SERIES, moved))
    assert again.json()["created"] == again.json()["updated"] == 0
    assert await times(client, account) == expected


async def test_a_day_of_its_own_takes_the_place_of_that_of_whole_days(
    client: httpx.AsyncClient, account: Any
) -> None:
    days = event("a", "SUMMARY:Days", "RRULE:FREQ=DAILY;COUNT=2", start="DTSTART;VALUE=DATE:20260504")
    moved = event(
        "a", "SUMMARY:Moved", "RECURRENCE-ID;VALUE=DATE:20260505", start="DTSTART;VALUE=DATE:20260508"
    )
    await send(client, account, file(days), time_zone="Asia/Tokyo")
    await send(client, account, file(moved), time_zone="America/New_York")
    assert [one[0] for one in await times(client, account)] == ["Days", "Moved"]
    assert (await times(client, account))[0] == ("Days", "03T15")


async def test_an_occurrence_is_taken_back_or_cancelled(client: httpx.AsyncClient, account: Any) -> None:
    moved = event("a", "SUMMARY:Moved", "RECURRENCE-ID:20260505T100000Z", start="DTSTART:20260505T180000Z")
    await send(client, account, file(SERIES, moved, event("a/x"), event("b/20260505T100000")))
    answer = await send(client, account, file(SERIES))
    assert answer.json() == {"created": 0, "updated": 1, "unchanged": 0, "deleted": 1, "ignored": 0}
    assert [one for one in await times(client, account) if one[0] != "Untitled"] == [
        ("Lecture", f"0{day}T10") for day in (4, 5, 6)
    ]
    assert set(await stored(client, account)) == {"a", "a/x", "b/20260505T100000"}
    await send(client, account, file(moved))
    answer = await send(
        client, account, file(event("a", "STATUS:CANCELLED", "RECURRENCE-ID:20260505T100000Z"))
    )
    assert answer.json() == {"created": 0, "updated": 0, "unchanged": 1, "deleted": 1, "ignored": 1}
    assert [one for one in await times(client, account) if one[0] != "Untitled"] == [
        ("Lecture", f"0{day}T10") for day in (4, 6)
    ]


async def test_what_a_file_cancels_is_deleted(client: httpx.AsyncClient, account: Any) -> None:
    moved = event("a", "RECURRENCE-ID:20260505T100000Z", start="DTSTART:20260505T180000Z")
    await send(client, account, file(SERIES, moved, event("b", "SEQUENCE:3")))
    content = file(event("a", "STATUS:CANCELLED", "SEQUENCE:2"), event("b", "STATUS:CANCELLED", "SEQUENCE:2"))
    answer = await send(client, account, content)
    assert answer.json() == {"created": 0, "updated": 0, "unchanged": 0, "deleted": 2, "ignored": 2}
    assert set(await stored(client, account)) == {"b"}


async def test_an_older_entry_changes_nothing(client: httpx.AsyncClient, account: Any) -> None:
    await send(client, account, file(event("a", "SUMMARY:New", "SEQUENCE:3")))
    answer = await send(client, account, file(event("a", "SUMMARY:Old", "SEQUENCE:2")))
    assert answer.json() == {"created": 0, "updated": 0, "unchanged": 0, "deleted": 0, "ignored": 1}
    assert (await stored(client, account))["a"]["title"] == "New"
    # Programs that count no changes are believed.
    for title in ("First", "Second"):
        await send(client, account, file(event("a", f"SUMMARY:{title}")))
        found = (await stored(client, account))["a"]
        assert (found["title"], found["sequence"]) == (title, 3)
    path = found["_links"]["self"]["href"]
    await client.patch(path, json={"title": "Mine"}, headers=account.headers)
    await send(client, account, file(event("a", "SUMMARY:Old", "SEQUENCE:3")))
    assert (await stored(client, account))["a"]["title"] == "Mine"


async def test_events_of_one_count_are_believed_each_time(client: httpx.AsyncClient, account: Any) -> None:
    for title in ("First", "Second", "Third"):
        await send(client, account, file(event("a", f"SUMMARY:{title}", "SEQUENCE:0")))
        assert (await stored(client, account))["a"]["title"] == title


async def test_many_changes_are_few_statements(client: httpx.AsyncClient, account: Any) -> None:
    await send(client, account, file(*(event(f"uid-{n}", "SUMMARY:Old") for n in range(300))))
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    listen(Engine, "before_cursor_execute", note)
    answer = await send(client, account, file(*(event(f"uid-{n}", "SUMMARY:New") for n in range(300))))
    remove(Engine, "before_cursor_execute", note)
    assert answer.json()["updated"] == 300
    assert 0 < len(statements) < 20
    assert {one["title"] for one in (await stored(client, account)).values()} == {"New"}


@pytest.mark.parametrize("kind", ["image/png", "application/json", "text/calendarx", None])
async def test_what_is_sent_as_something_else_is_refused(
    client: httpx.AsyncClient, account: Any, kind: str | None
) -> None:
    headers = {**account.headers, **({"Content-Type": kind} if kind else {})}
    answer = await client.post(IMPORT, content=file(event("a")), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_file_type")
    assert await stored(client, account) == {}


async def test_control_characters_do_not_come_in(client: httpx.AsyncClient, account: Any) -> None:
    await send(client, account, file(event("a", "SUMMARY:O\u0007p\u000btics", "DESCRIPTION:a\\nb\tc")))
    found = (await stored(client, account))["a"]
    assert (found["title"], found["description"]) == ("Optics", "a\nb\tc")


async def test_a_full_planner_takes_no_more(
    client: httpx.AsyncClient, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.platform.services.planner.events.MAX_EVENTS", 2)
    await send(client, account, file(event("a"), event("b")))
    answer = await send(client, account, file(event("b"), event("c")))
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_events")
    swapped = file(event("a", "STATUS:CANCELLED"), event("c"))
    assert (await send(client, account, swapped)).status_code == 200
    assert set(await stored(client, account)) == {"b", "c"}

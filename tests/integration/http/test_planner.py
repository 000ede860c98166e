"""The planner over HTTP: events good and bad, ranges across a change of the clocks, versions, other people's
events.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from little_monster.db.base import new_id
from little_monster.db.repositories import planner_events
from little_monster.db.repositories.planner_events import Counts
from little_monster.db.session import Session

EVENTS = "/api/v1/planner/events"

LECTURE = {
    "title": "  Linear algebra ",
    "type": "class",
    "subject": "mathematics",
    "start_date": "2026-03-23T09:15:00",
    "end_date": "2026-03-23T10:45:00",
    "time_zone": "Europe/Berlin",
    "recurrence": "freq=weekly;byday=MO,WE",
    "exdates": ["2026-03-25T09:15:00"],
    "reminder_minutes": [60, 15, 15],
    "location": "Room 1",
}


async def plan(client: httpx.AsyncClient, account: Any, **fields: Any) -> dict[str, Any]:
    body = {"title": "Optics", "start_date": "2026-05-04T10:00:00Z", **fields}
    response = await client.post(EVENTS, json=body, headers=account.headers)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def planned(client: httpx.AsyncClient, account: Any, **query: Any) -> list[dict[str, Any]]:
    response = await client.get(EVENTS, params=query, headers=account.headers)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_an_event_is_planned_and_shown(client: httpx.AsyncClient, account: Any) -> None:
    response = await client.post(EVENTS, json=LECTURE, headers=account.headers)
    assert response.status_code == 201, response.text
    made = response.json()
    assert {name: made[name] for name in ("title", "type", "subject", "time_zone", "location")} == {
        "title": "Linear algebra",
        "type": "class",
        "subject": "mathematics",
        "time_zone": "Europe/Berlin",
        "location": "Room 1",
    }
    assert (made["start_date"], made["end_date"]) == ("2026-03-23T08:15:00Z", "2026-03-23T09:45:00Z")
    assert made["recurrence"] == "FREQ=WEEKLY;BYDAY=MO,WE"
    assert made["exdates"] == ["2026-03-25T08:15:00Z"]
    assert made["reminder_minutes"] == [15, 60]
    assert (made["uid"], made["sequence"]) == (f"{made['id']}@little-monster", 0)
    assert (made["all_day"], made["is_completed"], made["occurrence"]) == (False, False, None)
    assert made["next_reminder_at"] is not None
    path = made["_links"]["self"]["href"]
    assert response.headers["location"] == path == f"{EVENTS}/{made['id']}"
    shown = await client.get(path, headers=account.headers)
    assert (shown.status_code, shown.json()) == (200, made)
    assert shown.headers["etag"] == response.headers["etag"]


async def test_a_repeated_post_plans_one_event(client: httpx.AsyncClient, account: Any) -> None:
    headers = {**account.headers, "Idempotency-Key": str(new_id())}
    body = {"title": "Once", "start_date": "2026-05-04T10:00:00Z"}
    first, second = [await client.post(EVENTS, json=body, headers=headers) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["etag"] == second.headers["etag"]
    assert len(await planned(client, account)) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"title": ""}, "body.title"),
        ({"title": "x" * 301}, "body.title"),
        ({"title": "a\u0000b"}, "body.title"),
        ({"title": "a\u0007b"}, "body.title"),
        ({"description": "a\u000bb"}, "body.description"),
        ({"location": "a\u007fb"}, "body.location"),
        ({"title": "\ud800"}, "body.title"),
        ({"start_date": None}, "body.start_date"),
        ({"start_date": 1_790_000_000}, "body.start_date"),
        ({"start_date": "yesterday"}, "body.start_date"),
        ({"start_date": "9999-12-31T23:59:59Z"}, "body.start_date"),
        ({"start_date": "0001-01-01T00:00:00+14:00"}, "body.start_date"),
        ({"end_date": "2026-05-04T09:59:59Z"}, "body.end_date"),
        ({"end_date": "2028-05-04T09:59:59Z"}, "body.end_date"),
        ({"time_zone": "Mars/Olympus"}, "body.time_zone"),
        ({"time_zone": "/etc/passwd"}, "body.time_zone"),
        ({"type": "party"}, "body.type"),
        ({"subject": "magic"}, "body.subject"),
        ({"recurrence": "FREQ=SECONDLY"}, "body.recurrence"),
        ({"recurrence": "FREQ=DAILY;COUNT=99999999"}, "body.recurrence"),
        ({"recurrence": "FREQ=DAILY;UNTIL=99991231"}, "body.recurrence"),
        ({"recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "body.recurrence"),
        ({"recurrence": "FREQ=DAILY\r\nATTENDEE:x"}, "body.recurrence"),
        ({"reminder_minutes": [-1]}, "body.reminder_minutes.0"),
        ({"reminder_minutes": [2**70]}, "body.reminder_minutes.0"),
        ({"reminder_minutes": ["15"]}, "body.reminder_minutes.0"),
        ({"exdates": ["x"]}, "body.exdates.0"),
        ({"uid": "mine"}, "body.uid"),
        ({"user_id": str(new_id())}, "body.user_id"),
    ],
)
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, account: Any, fields: dict[str, Any], field: str
) -> None:
    body = {"title": "Optics", "start_date": "2026-05-04T10:00:00Z", **fields}
    content = json.dumps(body)
    response = await client.post(
        EVENTS, content=content, headers={**account.headers, "Content-Type": "application/json"}
    )
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["field"] == field
    assert await planned(client, account) == []


async def test_a_range_shows_each_occurrence_at_its_clock_time(
    client: httpx.AsyncClient, account: Any
) -> None:
    series = (await client.post(EVENTS, json=LECTURE, headers=account.headers)).json()
    exam = await plan(client, account, title="Exam", start_date="2026-03-30T12:00:00Z")
    await plan(client, account, title="Later", start_date="2026-04-06T00:00:00Z")
    found = await planned(client, account, **{"from": "2026-03-23T00:00:00Z", "to": "2026-04-06T00:00:00Z"})
    assert [(one["id"], one["occurrence"]["start_date"]) for one in found] == [
        (series["id"], "2026-03-23T08:15:00Z"),
        # The 25th is left out, and on the 29th clocks are put forward.
        (series["id"], "2026-03-30T07:15:00Z"),
        (exam["id"], "2026-03-30T12:00:00Z"),
        (series["id"], "2026-04-01T07:15:00Z"),
    ]
    assert found[1]["occurrence"]["end_date"] == "2026-03-30T08:45:00Z"
    assert found[1]["start_date"] == series["start_date"]


async def test_a_range_years_later_and_one_before(client: httpx.AsyncClient, account: Any) -> None:
    await plan(client, account, recurrence="FREQ=YEARLY", time_zone="America/New_York")
    ended = await plan(client, account, recurrence="FREQ=DAILY;COUNT=3")
    found = await planned(client, account, **{"from": "2036-01-01T00:00:00Z", "to": "2037-01-01T00:00:00Z"})
    assert [one["occurrence"]["start_date"] for one in found] == ["2036-05-04T10:00:00Z"]
    found = await planned(client, account, **{"from": "2026-05-06T00:00:00Z", "to": "2026-05-08T00:00:00Z"})
    assert [one["id"] for one in found] == [ended["id"]]
    assert (
        await planned(client, account, **{"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"}) == []
    )


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-01-01T00:00:00Z"},
        {"to": "2026-01-01T00:00:00Z"},
        {"from": "2026-01-01T00:00:00", "to": "2026-02-01T00:00:00"},
        {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "2026-01-01T00:00:00Z", "to": "2027-02-01T00:00:00Z"},
        {"from": "0001-01-01T00:00:00Z", "to": "0001-02-01T00:00:00Z"},
        {"from": "9999-12-01T00:00:00Z", "to": "9999-12-31T00:00:00Z"},
        {"from": "1", "to": "2"},
        {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "cursor": "garbage!"},
        {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "limit": "101"},
        {"type": "party"},
        {"cursor": "nonsense"},
    ],
)
async def test_a_wrong_query_is_refused(client: httpx.AsyncClient, account: Any, query: Any) -> None:
    response = await client.get(EVENTS, params=query, headers=account.headers)
    assert response.status_code == 422, response.text
    assert response.json()["errors"]


async def pages(client: httpx.AsyncClient, account: Any, **query: Any) -> AsyncIterator[list[dict[str, Any]]]:
    path: str | None = f"{EVENTS}?{urlencode(query)}"
    while path:
        response = await client.get(path, headers=account.headers)
        assert response.status_code == 200, response.text
        body = response.json()
        yield body["items"]
        path = body["_links"].get("next", {}).get("href")
        assert (path is None) == (body["next_cursor"] is None)


async def test_a_range_comes_in_pages_that_are_stable(client: httpx.AsyncClient, account: Any) -> None:
    series = [
        (await plan(client, account, start_date="2026-01-01T00:00:00Z", recurrence="FREQ=DAILY"))["id"]
        for _ in range(2)
    ]
    before = await plan(client, account, start_date="2026-01-04T22:00:00Z", end_date="2026-01-05T02:00:00Z")
    single = [await plan(client, account, start_date="2026-01-06T00:00:00Z") for _ in range(3)]
    query = {"from": "2026-01-05T00:00:00Z", "to": "2026-01-09T00:00:00Z", "limit": 3}
    seen: list[tuple[str, str]] = []
    async for items in pages(client, account, **query):
        assert 0 < len(items) <= 3
        seen += [(one["occurrence"]["start_date"][8:10], one["id"]) for one in items]
        # What is planned meanwhile, before what was seen, moves nothing.
        await plan(client, account, start_date="2026-01-04T23:00:00Z", end_date="2026-01-05T01:00:00Z")
    alike = sorted([*series, *(one["id"] for one in single)])
    assert [one for one in seen if one[0] != "06"] == [
        ("04", before["id"]),
        *((day, one) for day in ("05", "07", "08") for one in sorted(series)),
    ]
    assert [one for day, one in seen if day == "06"] == alike


async def test_a_year_of_many_series_is_cheap_to_begin(client: httpx.AsyncClient, account: Any) -> None:
    for _ in range(7):
        await plan(client, account, start_date="2001-01-01T00:00:00Z", recurrence="FREQ=DAILY")
    query = {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "limit": 100}
    counts = [len(items) async for items in pages(client, account, **query)]
    assert sum(counts) == 7 * 365
    assert counts[:-1] == [100] * 25


async def test_filters(client: httpx.AsyncClient, account: Any) -> None:
    exam = await plan(client, account, type="exam", subject="physics")
    done = await plan(client, account, type="study", is_completed=True)
    assert [one["id"] for one in await planned(client, account, type="exam")] == [exam["id"]]
    assert [one["id"] for one in await planned(client, account, subject="physics")] == [exam["id"]]
    assert [one["id"] for one in await planned(client, account, is_completed=True)] == [done["id"]]
    window = {"from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
    found = await planned(client, account, is_completed=False, **window)
    assert [one["id"] for one in found] == [exam["id"]]


async def test_pages_are_stable_while_events_are_added(client: httpx.AsyncClient, account: Any) -> None:
    made = [(await plan(client, account))["id"] for _ in range(5)]
    seen: list[str] = []
    url: str | None = f"{EVENTS}?limit=2"
    while url:
        body = (await client.get(url, headers=account.headers)).json()
        seen += [one["id"] for one in body["items"]]
        url = body["_links"].get("next", {}).get("href")
        await plan(client, account, title="New")
    assert seen == made[::-1]


async def test_a_change_needs_the_version_that_it_was_made_of(
    client: httpx.AsyncClient, account: Any
) -> None:
    event = await plan(client, account)
    path = event["_links"]["self"]["href"]
    tag = (await client.get(path, headers=account.headers)).headers["etag"]
    first = await client.patch(path, json={"title": "A"}, headers={**account.headers, "If-Match": tag})
    assert (first.status_code, first.json()["title"], first.json()["sequence"]) == (200, "A", 1)
    assert first.headers["etag"] != tag
    late = await client.patch(path, json={"title": "B"}, headers={**account.headers, "If-Match": tag})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    gone = await client.delete(path, headers={**account.headers, "If-Match": f'"0", {tag}'})
    assert gone.status_code == 412
    either = {**account.headers, "If-Match": f'"0", {first.headers["etag"]}'}
    assert (await client.patch(path, json={"title": "C"}, headers=either)).json()["title"] == "C"
    anything = {**account.headers, "If-Match": "*"}
    assert (await client.delete(path, headers=anything)).status_code == 204
    assert (await client.get(path, headers=account.headers)).status_code == 404


async def test_a_change_leaves_alone_what_it_does_not_name(client: httpx.AsyncClient, account: Any) -> None:
    event = (await client.post(EVENTS, json=LECTURE, headers=account.headers)).json()
    path = event["_links"]["self"]["href"]

    async def change(**fields: Any) -> dict[str, Any]:
        response = await client.patch(path, json=fields, headers=account.headers)
        assert response.status_code == 200, response.text
        changed: dict[str, Any] = response.json()
        return changed

    tag = (await client.get(path, headers=account.headers)).headers["etag"]
    done = await change(is_completed=True)
    assert (await client.get(path, headers=account.headers)).headers["etag"] != tag
    assert (done["is_completed"], done["sequence"], done["next_reminder_at"]) == (True, 0, None)
    assert done["recurrence"] == event["recurrence"]
    open_again = await change(is_completed=False)
    assert open_again["next_reminder_at"] == event["next_reminder_at"]
    moved = await change(start_date="2026-03-23T10:15:00", end_date="2026-03-23T11:45:00")
    assert (moved["start_date"], moved["sequence"]) == ("2026-03-23T09:15:00Z", 1)
    single = await change(recurrence=None, subject=None)
    assert (single["recurrence"], single["exdates"], single["subject"]) == (None, [], None)


async def test_ends_of_lines_are_those_that_a_calendar_file_has(
    client: httpx.AsyncClient, account: Any
) -> None:
    event = await plan(client, account, description="a\rb\r\nc\td\n")
    assert event["description"] == "a\nb\nc\td\n"


async def test_days_stay_when_their_time_zone_changes(client: httpx.AsyncClient, account: Any) -> None:
    event = await plan(
        client, account, all_day=True, start_date="2026-05-04", end_date="2026-05-06", time_zone="Asia/Tokyo"
    )
    assert (event["start_date"], event["end_date"]) == ("2026-05-03T15:00:00Z", "2026-05-05T15:00:00Z")
    path = event["_links"]["self"]["href"]
    moved = await client.patch(path, json={"time_zone": "America/New_York"}, headers=account.headers)
    assert (moved.json()["start_date"], moved.json()["end_date"]) == (
        "2026-05-04T04:00:00Z",
        "2026-05-06T04:00:00Z",
    )


async def test_a_change_that_breaks_a_rule_changes_nothing(client: httpx.AsyncClient, account: Any) -> None:
    event = await plan(client, account, end_date="2026-05-04T11:00:00Z")
    path = event["_links"]["self"]["href"]
    for fields in (
        {"start_date": "2026-05-04T12:00:00Z"},
        {"recurrence": "FREQ=HOURLY"},
        {"title": ""},
        {"unknown": 1},
        {},
        {"title": None},
        {"is_completed": True, "start_date": None},
        {"is_completed": "maybe"},
    ):
        response = await client.patch(path, json=fields, headers=account.headers)
        assert response.status_code == 422, fields
    assert (await client.get(path, headers=account.headers)).json() == event


async def test_series_have_a_limit(
    client: httpx.AsyncClient, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.platform.services.planner.events.MAX_SERIES", 1)
    await plan(client, account, recurrence="FREQ=DAILY")
    single = await plan(client, account)
    body = {"title": "T", "start_date": "2026-05-04T10:00:00Z", "recurrence": "FREQ=DAILY"}
    refused = await client.post(EVENTS, json=body, headers=account.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_series")
    path = single["_links"]["self"]["href"]
    changed = await client.patch(path, json={"recurrence": "FREQ=DAILY"}, headers=account.headers)
    assert changed.status_code == 409


async def test_events_have_a_limit(
    client: httpx.AsyncClient, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.platform.services.planner.events.MAX_EVENTS", 2)
    first = await plan(client, account)
    await plan(client, account)
    body = {"title": "T", "start_date": "2026-05-04T10:00:00Z"}
    refused = await client.post(EVENTS, json=body, headers=account.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_events")
    path = first["_links"]["self"]["href"]
    assert (await client.patch(path, json={"title": "U"}, headers=account.headers)).status_code == 200
    assert (await client.delete(path, headers=account.headers)).status_code == 204
    await plan(client, account)


async def test_many_at_once_do_not_pass_the_limit(
    client: httpx.AsyncClient, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.platform.services.planner.events.MAX_SERIES", 3)
    count = planner_events.count

    async def count_slowly(session: Session) -> Counts:
        found = await count(session)
        await asyncio.sleep(0.05)
        return found

    monkeypatch.setattr(planner_events, "count", count_slowly)
    body = {"title": "T", "start_date": "2026-05-04T10:00:00Z", "recurrence": "FREQ=DAILY"}
    answers = await asyncio.gather(
        *(client.post(EVENTS, json=body, headers=account.headers) for _ in range(8))
    )
    assert sorted(one.status_code for one in answers) == [201] * 3 + [409] * 5


async def test_somebody_elses_event_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, eve = await register(), await register()
    event = await plan(client, ada)
    for method, options in (("GET", {}), ("PATCH", {"json": {"title": "X"}}), ("DELETE", {})):
        answers = [
            await client.request(method, f"{EVENTS}/{one}", headers=eve.headers, **options)  # type: ignore[arg-type]
            for one in (event["id"], new_id())
        ]
        assert [one.status_code for one in answers] == [404, 404]
        assert {one.json()["code"] for one in answers} == {"event_not_found"}
        assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert await planned(client, eve) == []
    window = {"from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
    assert await planned(client, eve, **window) == []
    assert (await client.get(f"{EVENTS}/{event['id']}", headers=ada.headers)).json() == event


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/events"),
        ("POST", "/events"),
        ("GET", "/events/01910000-0000-7000-8000-000000000000"),
        ("PATCH", "/events/01910000-0000-7000-8000-000000000000"),
        ("DELETE", "/events/01910000-0000-7000-8000-000000000000"),
        ("POST", "/feed"),
        ("DELETE", "/feed"),
        ("GET", "/feeds"),
        ("GET", "/feeds/01910000-0000-7000-8000-000000000000"),
        ("DELETE", "/feeds/01910000-0000-7000-8000-000000000000"),
        ("POST", "/import"),
    ],
)
async def test_without_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, f"/api/v1/planner{path}")
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_a_malformed_id(client: httpx.AsyncClient, account: Any) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        response = await client.request(method, f"{EVENTS}/nonsense", headers=account.headers)
        assert response.status_code == 422, method


async def test_a_cursor_is_no_other_lists(client: httpx.AsyncClient, account: Any) -> None:
    for number in range(2):
        body = {"title": f"Exam {number}", "start_date": "2026-10-19T09:15:00Z"}
        made = await client.post("/api/v1/planner/events", json=body, headers=account.headers)
        assert made.status_code == 201
    first = (await client.get("/api/v1/planner/events?limit=1", headers=account.headers)).json()
    second = await client.get(first["_links"]["next"]["href"], headers=account.headers)
    assert [one["title"] for one in second.json()["items"]] == ["Exam 0"]
    for other in ("videos", "documents", "planner/feeds", "notifications", "jobs"):
        path = f"/api/v1/{other}?cursor={first['next_cursor']}"
        refused = await client.get(path, headers=account.headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_cursor"), other

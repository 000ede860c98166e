"""Calendar feeds: a secret address that a calendar program reads without a token, until it is revoked."""

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import icalendar
import pytest
from fastapi import FastAPI

from little_monster.db.base import new_id
from little_monster.db.repositories import planner_events
from little_monster.platform.logs import setup_logs
from little_monster.platform.services.planner.feeds import FeedTokens
from little_monster.platform.settings import Settings, TelemetrySettings
from tests.fixtures.watch import WATCH

PLANNER = "/api/v1/planner"
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)


async def make(client: httpx.AsyncClient, account: Any) -> dict[str, Any]:
    response = await client.post(f"{PLANNER}/feed", headers=account.headers)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    made: dict[str, Any] = response.json()
    return made


async def plan(client: httpx.AsyncClient, account: Any, **fields: Any) -> dict[str, Any]:
    body = {"title": "Optics", "start_date": SOON.isoformat(), **fields}
    response = await client.post(f"{PLANNER}/events", json=body, headers=account.headers)
    assert response.status_code == 201, response.text
    event: dict[str, Any] = response.json()
    return event


async def test_a_feed_is_read_without_a_token(client: httpx.AsyncClient, account: Any) -> None:
    lecture = await plan(
        client,
        account,
        title="Übung; Teil 2",
        time_zone="Europe/Berlin",
        recurrence="FREQ=WEEKLY",
        reminder_minutes=[10],
    )
    day = await plan(client, account, all_day=True)
    await plan(client, account, title="Long ago", start_date="2001-01-01T00:00:00Z")
    feed = await make(client, account)
    assert feed["url"].startswith(f"http://test{PLANNER}/calendar/")
    response = await client.get(feed["url"])
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/calendar; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    events = {str(one["uid"]): one for one in icalendar.Calendar.from_ical(response.content).events}
    assert set(events) == {lecture["uid"], day["uid"]}
    assert str(events[lecture["uid"]]["summary"]) == "Übung; Teil 2"
    assert events[lecture["uid"]]["dtstart"].params["TZID"] == "Europe/Berlin"
    assert events[day["uid"]]["dtstart"].dt == SOON.date()


async def test_a_feed_that_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, account: Any) -> None:
    event = await plan(client, account)
    other = await plan(client, account)
    url = (await make(client, account))["url"]
    tags = [(await client.get(url)).headers["etag"]]
    known = await client.get(url, headers={"If-None-Match": f'"x", W/{tags[0]}'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tags[0])
    path = event["_links"]["self"]["href"]
    await client.patch(path, json={"title": "Waves"}, headers=account.headers)
    changed = await client.get(url, headers={"If-None-Match": tags[0]})
    assert changed.status_code == 200
    assert {str(one["summary"]) for one in icalendar.Calendar.from_ical(changed.content).events} == {
        "Waves",
        "Optics",
    }
    tags.append(changed.headers["etag"])
    await client.delete(other["_links"]["self"]["href"], headers=account.headers)
    tags.append((await client.get(url)).headers["etag"])
    await plan(client, account)
    tags.append((await client.get(url)).headers["etag"])
    await client.patch(path, json={"is_completed": True}, headers=account.headers)
    tags.append((await client.get(url)).headers["etag"])
    assert len(set(tags)) == 5


async def test_a_change_that_began_earlier_and_ends_later_is_seen(
    client: httpx.AsyncClient, account: Any, app: FastAPI
) -> None:
    slow, fast = [await plan(client, account) for _ in range(2)]
    url = (await make(client, account))["url"]
    owner = UUID(account.user["id"])
    async with app.state.resources.database.session(owner) as session:
        # The transaction, and so its time, begins here.
        row = await planner_events.get(session, UUID(slow["id"]), for_update=True)
        assert row is not None
        await client.patch(fast["_links"]["self"]["href"], json={"title": "Fast"}, headers=account.headers)
        tag = (await client.get(url)).headers["etag"]
        await planner_events.save(session, row, {"title": "Slow"})
    answer = await client.get(url, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert b"SUMMARY:Slow" in answer.content


async def test_all_events_are_in_the_feed(client: httpx.AsyncClient, account: Any) -> None:
    first = [await plan(client, account) for _ in range(3)]
    await plan(client, account, start_date=(SOON + timedelta(days=400)).isoformat())
    content = (await client.get((await make(client, account))["url"])).content
    assert len(icalendar.Calendar.from_ical(content).events) == len(first) + 1


async def test_the_host_of_a_request_is_not_believed(
    settings: Settings, running: Any, client_of: Any
) -> None:
    api = settings.api.model_copy(update={"public_url": "https://study.example.org/lm/"})
    async with running(settings.model_copy(update={"api": api})) as app, client_of(app) as client:
        body = {"email": f"{new_id()}@example.com", "password": "a horse at the door", "display_name": "A"}
        made = await client.post("/api/v1/auth/register", json=body)
        token = made.json()["tokens"]["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Host": "evil.example"}
        made = await client.post(f"{PLANNER}/feed", headers=headers)
    assert made.json()["url"].startswith(f"https://study.example.org/lm{PLANNER}/calendar/")


async def test_a_personal_access_token_makes_no_feed(client: httpx.AsyncClient, account: Any) -> None:
    feed = await make(client, account)
    body = {"name": "script", "scopes": ["read", "write"]}
    made = await client.post("/api/v1/auth/tokens", json=body, headers=account.headers)
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    shown = feed["_links"]["self"]["href"]
    for method, path in (
        ("POST", f"{PLANNER}/feed"),
        ("DELETE", f"{PLANNER}/feed"),
        ("GET", f"{PLANNER}/feeds"),
        ("GET", shown),
        ("DELETE", shown),
    ):
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == 403, path
    assert (await client.get(feed["url"])).status_code == 200


async def test_uid_stays_and_sequence_rises(client: httpx.AsyncClient, account: Any) -> None:
    event = await plan(client, account)
    url = (await make(client, account))["url"]
    path = event["_links"]["self"]["href"]
    for sequence in (1, 2):
        new = (SOON + timedelta(hours=sequence)).isoformat()
        await client.patch(path, json={"start_date": new, "end_date": None}, headers=account.headers)
        (found,) = icalendar.Calendar.from_ical((await client.get(url)).content).events
        assert (str(found["uid"]), int(found["sequence"])) == (event["uid"], sequence)


async def test_a_revoked_feed_looks_like_one_that_never_was(client: httpx.AsyncClient, account: Any) -> None:
    first, second = await make(client, account), await make(client, account)
    path = first["_links"]["self"]["href"]
    assert (await client.delete(path, headers=account.headers)).status_code == 204
    assert (await client.delete(path, headers=account.headers)).status_code == 404
    gone = await client.get(first["url"])
    never = await client.get(f"{PLANNER}/calendar/{'a' * 64}.ics")
    assert (gone.status_code, never.status_code) == (404, 404)
    assert gone.json()["code"] == never.json()["code"] == "feed_not_found"
    assert gone.json()["detail"] == never.json()["detail"]
    assert (await client.get(second["url"])).status_code == 200
    assert (await client.delete(f"{PLANNER}/feed", headers=account.headers)).status_code == 204
    assert (await client.get(second["url"])).status_code == 404


async def test_the_list_says_when_but_not_where(client: httpx.AsyncClient, account: Any) -> None:
    feed = await make(client, account)
    listed = await client.get(f"{PLANNER}/feeds", headers=account.headers)
    (shown,) = listed.json()["items"]
    assert shown == {name: value for name, value in feed.items() if name != "url"}
    assert (await client.get(shown["_links"]["self"]["href"], headers=account.headers)).json() == shown
    assert (shown["last_used_at"], shown["revoked_at"]) == (None, None)
    await client.get(feed["url"])
    await client.delete(f"{PLANNER}/feed", headers=account.headers)
    (shown,) = (await client.get(f"{PLANNER}/feeds", headers=account.headers)).json()["items"]
    assert shown["last_used_at"] is not None
    assert shown["revoked_at"] is not None


async def test_feeds_of_others(client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]) -> None:
    ada, eve = await register(), await register()
    feed = await make(client, ada)
    assert (await client.get(f"{PLANNER}/feeds", headers=eve.headers)).json()["items"] == []
    for path in (feed["_links"]["self"]["href"], f"{PLANNER}/feeds/{new_id()}"):
        for method in ("GET", "DELETE"):
            answer = await client.request(method, path, headers=eve.headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "feed_not_found")
    await client.delete(f"{PLANNER}/feed", headers=eve.headers)
    assert (await client.get(feed["url"])).status_code == 200


async def test_a_user_has_so_many_feeds(client: httpx.AsyncClient, account: Any) -> None:
    answers = await asyncio.gather(
        *(client.post(f"{PLANNER}/feed", headers=account.headers) for _ in range(13))
    )
    assert sorted(one.status_code for one in answers) == [201] * 10 + [409] * 3
    refused = await client.post(f"{PLANNER}/feed", headers=account.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_feeds")
    await client.delete(f"{PLANNER}/feed", headers=account.headers)
    await make(client, account)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(log_level="DEBUG"), stream)
    yield stream
    WATCH.hear()


async def test_no_log_or_error_has_the_token(
    client: httpx.AsyncClient, account: Any, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = urlsplit((await make(client, account))["url"]).path
    token = path.rpartition("/")[2].removesuffix(".ics")
    answers = [await client.get(path)]
    await client.delete(f"{PLANNER}/feed", headers=account.headers)
    answers += [await client.get(path), await client.get(path[:-4]), await client.post(path)]

    async def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("an error of ours")

    monkeypatch.setattr("little_monster.platform.services.planner.feeds.read_feed", fail)
    answers.append(await client.get(path))
    assert [one.status_code for one in answers] == [200, 404, 404, 405, 500]
    assert {one.json()["instance"] for one in answers[1:]} == {f"{PLANNER}/calendar/"}
    for answer in answers:
        assert token not in answer.text
    assert token not in log.getvalue()
    assert "/calendar/{token}.ics" in log.getvalue()


async def test_only_a_hash_of_the_token_is_kept(
    client: httpx.AsyncClient, account: Any, postgres: Any
) -> None:
    feed = await make(client, account)
    token = feed["url"].rpartition("/")[2].removesuffix(".ics")
    owner = await asyncpg.connect(postgres.owner_url)
    row = await owner.fetchrow("SELECT * FROM calendar_feeds WHERE id = $1", UUID(feed["id"]))
    await owner.close()
    assert row["token_hash"] == hashlib.sha256(token.encode()).digest()
    assert token not in str(dict(row))


async def test_a_forged_token_is_refused_before_the_database(settings: Settings) -> None:
    tokens = FeedTokens(settings.auth)
    token = tokens.new()
    assert tokens.is_ours(token)
    other = "B" if token[0] == "A" else "A"
    forged = ["", "a", token[:-1], token[:-4], other + token[1:], token + "AAAA", "ä" * 64, token.swapcase()]
    assert [one for one in forged if tokens.is_ours(one)] == []
    assert len({tokens.new() for _ in range(100)}) == 100

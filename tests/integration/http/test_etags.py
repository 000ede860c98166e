"""Entity tags: what has not changed is not sent again, and nobody overwrites what they have not seen."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from little_monster.db.models.chat_messages import MessageRole
from little_monster.db.repositories import chat_messages, jobs, notifications, videos
from little_monster.db.session import Database

RESOURCES = ("user", "document", "conversation", "job", "video", "comment", "event")
CHANGES: dict[str, dict[str, Any]] = {
    "user": {"display_name": "Other"},
    "document": {"title": "Other"},
    "conversation": {"title": "Other"},
    "video": {"title": "Other"},
    "comment": {"text": "Other"},
    "event": {"title": "Other"},
}
LISTS = (
    "/api/v1/videos",
    "/api/v1/videos?q=cells",
    "/api/v1/comments?video_id={video}",
    "/api/v1/chat/conversations",
    "/api/v1/documents",
    "/api/v1/jobs",
    "/api/v1/notifications",
    "/api/v1/planner/events",
    "/api/v1/planner/events?from=2026-06-01T00:00:00Z&to=2026-07-01T00:00:00Z",
    "/api/v1/planner/feeds",
    "/api/v1/auth/sessions",
    "/api/v1/auth/tokens",
    "/api/v1/auth/events",
)
EVENT = {
    "title": "Exam",
    "start_date": "2026-06-10T09:00:00Z",
    "end_date": "2026-06-10T10:00:00Z",
}
NULLABLE = {"user": {"avatar_color"}, "document": {"subject"}, "event": {"subject"}}


@pytest.fixture
async def paths(client: httpx.AsyncClient, account: Any) -> dict[str, str]:
    """One of each resource."""
    files = {"file": ("a.txt", uuid4().hex.encode())}
    added = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    begun = await client.post("/api/v1/chat/conversations", json={"title": "Cells"}, headers=account.headers)
    body = {"title": "Cells", "topic": "Walls", "subject": "biology"}
    video = (await client.post("/api/v1/videos", json=body, headers=account.headers)).json()
    body = {"video_id": video["id"], "text": "Nice"}
    comment = await client.post("/api/v1/comments", json=body, headers=account.headers)
    event = await client.post("/api/v1/planner/events", json=EVENT, headers=account.headers)
    assert event.status_code == 201, event.text
    return {
        "video": video["_links"]["self"]["href"],
        "comment": comment.json()["_links"]["self"]["href"],
        "event": event.json()["_links"]["self"]["href"],
        "user": "/api/v1/users/me",
        "document": added.json()["document"]["_links"]["self"]["href"],
        "job": added.json()["job"]["_links"]["self"]["href"],
        "conversation": begun.json()["_links"]["self"]["href"],
    }


async def tag_of(client: httpx.AsyncClient, account: Any, path: str) -> str:
    shown = await client.get(path, headers=account.headers)
    assert shown.status_code == 200, shown.text
    assert shown.headers["cache-control"] == "private, no-cache"
    tag: str = shown.headers["etag"]
    assert tag[0] == tag[-1] == '"'
    return tag


@pytest.mark.parametrize("resource", RESOURCES)
async def test_what_has_not_changed_is_not_sent_again(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], resource: str
) -> None:
    path = paths[resource]
    tag = await tag_of(client, account, path)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = await client.get(path, headers={**account.headers, "If-None-Match": known})
        assert (same.status_code, same.content) == (304, b""), known
        assert (same.headers["etag"], same.headers["cache-control"]) == (tag, "private, no-cache")
        assert "ratelimit" in same.headers
    for unknown in ('"other"', tag.strip('"'), "nonsense", ""):
        other = await client.get(path, headers={**account.headers, "If-None-Match": unknown})
        assert other.status_code == 200, unknown
    compressed = f'{tag[:-1]}-gzip"'
    same = await client.get(path, headers={**account.headers, "If-None-Match": compressed})
    assert (same.status_code, same.headers["etag"]) == (304, compressed)


@pytest.mark.parametrize("resource", list(CHANGES))
async def test_a_change_gives_another_tag(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], resource: str
) -> None:
    path, change = paths[resource], CHANGES[resource]
    old = await tag_of(client, account, path)
    changed = await client.patch(path, json=change, headers={**account.headers, "If-Match": old})
    assert changed.status_code == 200, changed.text
    assert change.items() <= changed.json().items()
    new = await tag_of(client, account, path)
    assert new == changed.headers["etag"] != old
    shown = await client.get(path, headers={**account.headers, "If-None-Match": old})
    assert change.items() <= shown.json().items()
    again = await client.patch(path, json=change, headers={**account.headers, "If-Match": new})
    assert again.headers["etag"] == new, "what is there already changes nothing"


@pytest.mark.parametrize("resource", list(CHANGES))
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_another_version_is_not_changed(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], resource: str, method: str
) -> None:
    path = paths[resource]
    tag = await tag_of(client, account, path)
    body = CHANGES[resource] if method == "PATCH" else {"password": "correct horse battery"}
    for given in ('"other"', f"W/{tag}", "nonsense", '"a", "b"'):
        headers = {**account.headers, "If-Match": given}
        refused = await client.request(method, path, json=body, headers=headers)
        assert refused.status_code == 412, (given, refused.text)
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "precondition_failed"
        assert await tag_of(client, account, path) == tag
    field = next(iter(CHANGES[resource]))
    same = {field: (await client.get(path, headers=account.headers)).json()[field]}
    for given in (f'"other", {tag}', "*"):
        headers = {**account.headers, "If-Match": given}
        assert (await client.request("PATCH", path, json=same, headers=headers)).status_code == 200
    headers = {**account.headers, "If-Match": f'{tag[:-1]}-br"'}
    done = await client.request(method, path, json=body, headers=headers)
    assert done.status_code == (200 if method == "PATCH" else 204)


async def test_of_many_who_change_one_version_one_wins(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str]
) -> None:
    for resource in CHANGES:
        field = next(iter(CHANGES[resource]))
        headers = {**account.headers, "If-Match": await tag_of(client, account, paths[resource])}
        answers = await asyncio.gather(
            *(client.patch(paths[resource], json={field: f"T{n}"}, headers=headers) for n in range(6))
        )
        assert sorted(one.status_code for one in answers) == [200, *[412] * 5]
        (winner,) = [one for one in answers if one.status_code == 200]
        shown = await client.get(paths[resource], headers=account.headers)
        assert shown.json()[field] == winner.json()[field]


async def test_what_is_counted_is_no_reason_against_a_change(
    client: httpx.AsyncClient,
    account: Any,
    register: Callable[[], Awaitable[Any]],
    new_video: Callable[..., Awaitable[str]],
    database: Database,
) -> None:
    """Somebody views, rates and discusses a video while its creator edits it."""
    path = f"/api/v1/videos/{await new_video(account)}"
    seen = await tag_of(client, account, path)
    eve, video_id = await register(), UUID(path.rpartition("/")[2])
    for what, body in (("ratings", {"stars": 4}), ("comments", {"text": "Nice"})):
        body = {**body, "video_id": str(video_id)}
        done = await client.post(f"/api/v1/{what}", json=body, headers=eve.headers)
        assert done.status_code == 201, done.text
    async with database.session(None) as session:
        await videos.add_views(session, {video_id: 3})
    shown = await client.get(path, headers={**account.headers, "If-None-Match": seen})
    assert (shown.status_code, shown.json()["rating_count"], shown.json()["view_count"]) == (200, 1, 3)
    assert shown.headers["etag"] != seen
    changed = await client.patch(path, json={"title": "Other"}, headers={**account.headers, "If-Match": seen})
    assert (changed.status_code, changed.json()["title"]) == (200, "Other")
    for stale in (seen, shown.headers["etag"]):
        for method in ("PATCH", "DELETE"):
            body = {"title": "Lost"} if method == "PATCH" else None
            refused = await client.request(
                method, path, json=body, headers={**account.headers, "If-Match": stale}
            )
            assert refused.status_code == 412, (method, refused.text)
    assert (await client.get(path, headers=account.headers)).json()["title"] == "Other"


@pytest.mark.parametrize("template", LISTS)
async def test_a_list_that_has_not_changed_is_not_sent_again(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], template: str
) -> None:
    path = template.format(video=paths["video"].rpartition("/")[2])
    tag = await tag_of(client, account, path)
    # A long list is compressed, and another way of that is the same version.
    gzipped = f"{tag.strip(chr(34)).removesuffix('-br')}-gzip"
    for known in (tag, f"W/{tag}", f'"other", {tag}', f'"{gzipped}"', "*"):
        same = await client.get(path, headers={**account.headers, "If-None-Match": known})
        assert (same.status_code, same.content) == (304, b""), known
        assert same.headers["cache-control"] == "private, no-cache"
        assert "content-type" not in same.headers
        assert "x-request-id" in same.headers
    other = await client.get(path, headers={**account.headers, "If-None-Match": '"other"'})
    assert (other.status_code, other.headers["etag"]) == (200, tag)


async def test_what_is_added_changes_the_tag_of_its_list(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], register: Callable[[], Awaitable[Any]]
) -> None:
    path, eve = "/api/v1/planner/events", await register()
    tag = await tag_of(client, account, path)
    assert await tag_of(client, eve, path) != tag
    # What somebody else has is no tag of one's own list.
    others = await client.get(path, headers={**eve.headers, "If-None-Match": tag})
    assert (others.status_code, others.json()["items"]) == (200, [])
    await client.post(path, json={**EVENT, "title": "More"}, headers=account.headers)
    more = await client.get(path, headers={**account.headers, "If-None-Match": tag})
    assert (more.status_code, [one["title"] for one in more.json()["items"]]) == (200, ["More", "Exam"])
    await client.delete(paths["event"], headers=account.headers)
    fewer = await client.get(path, headers={**account.headers, "If-None-Match": more.headers["etag"]})
    assert (fewer.status_code, len(fewer.json()["items"])) == (200, 1)


async def test_a_notification_is_marked_by_version(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    owner = UUID(account.user["id"])
    async with database.session(owner) as session:
        row = await notifications.create(session, user_id=owner, kind="test", title="Hello")
    path = f"/api/v1/notifications/{row.id}"
    first = await client.patch(path, json={"read": True}, headers=account.headers)
    tag = first.headers["etag"]
    again = await client.patch(path, json={"read": False}, headers={**account.headers, "If-Match": tag})
    assert again.status_code == 200
    stale = await client.patch(path, json={"read": True}, headers={**account.headers, "If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")


async def test_somebody_elses_thing_is_missing_before_it_is_compared(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], paths: dict[str, str], account: Any
) -> None:
    eve = await register()
    for resource in ("document", "conversation", "video", "comment", "event"):
        tag = await tag_of(client, account, paths[resource])
        for given in (tag, '"other"', "*"):
            headers = {**eve.headers, "If-Match": given, "If-None-Match": given}
            for method in ("GET", "PATCH", "DELETE"):
                body = CHANGES[resource] if method == "PATCH" else None
                answer = await client.request(method, paths[resource], json=body, headers=headers)
                assert answer.status_code == 404


async def test_a_message_changes_the_tag_of_its_conversation(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], database: Database
) -> None:
    path, owner = paths["conversation"], UUID(account.user["id"])
    tag = await tag_of(client, account, path)
    async with database.session(owner) as session:
        await chat_messages.add(
            session,
            user_id=owner,
            conversation_id=UUID(path.rpartition("/")[2]),
            role=MessageRole.USER,
            content="Hello",
        )
    shown = await client.get(path, headers={**account.headers, "If-None-Match": tag})
    assert (shown.status_code, shown.json()["message_count"]) == (200, 1)


async def test_the_tag_of_a_job_moves_with_its_eta(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], database: Database
) -> None:
    path, owner = paths["job"], UUID(account.user["id"])
    job_id = UUID(path.rpartition("/")[2])
    async with database.session(None) as session:
        await jobs.begin(session, job_id, worker="test")
    async with database.session(owner) as session:
        await jobs.progress(session, job_id, worker="test", stage="parsing", fraction=0.03)
    first = await client.get(path, headers=account.headers)
    await asyncio.sleep(0.2)
    second = await client.get(path, headers=account.headers)
    assert first.json()["eta_seconds"] < second.json()["eta_seconds"]
    assert first.headers["etag"] != second.headers["etag"]


async def test_compressed_and_plain_are_one_version_with_two_tags(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], database: Database
) -> None:
    path, owner = paths["conversation"], UUID(account.user["id"])
    async with database.session(owner) as session:
        await chat_messages.add(
            session,
            user_id=owner,
            conversation_id=UUID(path.rpartition("/")[2]),
            role=MessageRole.USER,
            content="The cell is the unit of life. " * 100,
        )
    plain, packed = [
        await client.get(path, headers={**account.headers, "Accept-Encoding": coding})
        for coding in ("identity", "gzip")
    ]
    assert (packed.headers["content-encoding"], packed.json()) == ("gzip", plain.json())
    assert packed.headers["etag"] == f'{plain.headers["etag"][:-1]}-gzip"'
    for known in (plain, packed):
        tag = known.headers["etag"]
        same = await client.get(path, headers={**account.headers, "If-None-Match": tag})
        assert (same.status_code, same.headers["etag"]) == (304, tag)
        body = {"title": plain.json()["title"]}
        changed = await client.patch(path, json=body, headers={**account.headers, "If-Match": tag})
        assert changed.status_code == 200


@pytest.mark.parametrize("resource", list(CHANGES))
async def test_a_change_of_nothing_is_none(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], resource: str
) -> None:
    refused = await client.patch(paths[resource], json={}, headers=account.headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    nullable = NULLABLE.get(resource, set())
    for field in {*CHANGES[resource], *nullable}:
        changed = await client.patch(paths[resource], json={field: None}, headers=account.headers)
        assert changed.status_code == (200 if field in nullable else 422), field


@pytest.mark.parametrize("resource", list(CHANGES))
async def test_an_error_names_the_field_and_nothing_else(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], resource: str
) -> None:
    for field in CHANGES[resource]:
        for wrong in ("", None, "x" * 40_000):
            refused = await client.patch(paths[resource], json={field: wrong}, headers=account.headers)
            assert [one["field"] for one in refused.json()["errors"]] == [f"body.{field}"]

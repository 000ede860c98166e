"""Entity tags: what has not changed is not sent again, and nobody overwrites what they have not seen."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from little_monster.db.models.chat_messages import MessageRole
from little_monster.db.repositories import chat_messages, jobs
from little_monster.db.session import Database

RESOURCES = ("user", "document", "conversation", "job")
CHANGES: dict[str, dict[str, Any]] = {
    "user": {"display_name": "Other"},
    "document": {"title": "Other"},
    "conversation": {"title": "Other"},
}
NULLABLE = {
    "user": {"avatar_color"},
    "document": {"subject"},
    "conversation": set[str](),
}


@pytest.fixture
async def paths(client: httpx.AsyncClient, account: Any) -> dict[str, str]:
    """One of each resource."""
    files = {"file": ("a.txt", uuid4().hex.encode())}
    added = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    begun = await client.post("/api/v1/chat/conversations", json={"title": "Cells"}, headers=account.headers)
    return {
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


async def test_somebody_elses_thing_is_missing_before_it_is_compared(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], paths: dict[str, str], account: Any
) -> None:
    eve = await register()
    for resource in ("document", "conversation"):
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
    for field in {*CHANGES[resource], *NULLABLE[resource]}:
        changed = await client.patch(paths[resource], json={field: None}, headers=account.headers)
        assert changed.status_code == (200 if field in NULLABLE[resource] else 422), field


@pytest.mark.parametrize("resource", list(CHANGES))
async def test_an_error_names_the_field_and_nothing_else(
    client: httpx.AsyncClient, account: Any, paths: dict[str, str], resource: str
) -> None:
    for field in CHANGES[resource]:
        for wrong in ("", None, "x" * 400):
            refused = await client.patch(paths[resource], json={field: wrong}, headers=account.headers)
            assert [one["field"] for one in refused.json()["errors"]] == [f"body.{field}"]

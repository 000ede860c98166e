"""Accounts and roles, for admins."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from little_monster.db.repositories import accounts

URL = "/api/v1/admin/users"
RegisterAs = Callable[[str], Awaitable[Any]]


@pytest.fixture
async def admin(register_as: RegisterAs) -> Any:
    return await register_as("admin")


async def give(client: httpx.AsyncClient, by: Any, target: Any, role: str, **headers: str) -> httpx.Response:
    path = f"{URL}/{target.user['id']}"
    return await client.patch(path, json={"role": role}, headers={**by.headers, **headers})


async def role_of(client: httpx.AsyncClient, account: Any) -> str:
    shown = await client.get("/api/v1/users/me", headers=account.headers)
    return str(shown.json()["role"])


async def test_admins_page_through_all_accounts(
    client: httpx.AsyncClient, admin: Any, register_as: RegisterAs, postgres: Any
) -> None:
    made = [await register_as(role) for role in ("student", "moderator")]
    seen: list[dict[str, Any]] = []
    url: str | None = f"{URL}?limit=2"
    while url is not None:
        page = await client.get(url, headers=admin.headers)
        assert page.status_code == 200, page.text
        seen += page.json()["items"]
        url = page.json()["_links"].get("next", {}).get("href")
    owner = await asyncpg.connect(postgres.owner_url)
    ids = [str(row[0]) for row in await owner.fetch("SELECT id FROM users ORDER BY created_at DESC, id DESC")]
    await owner.close()
    assert [user["id"] for user in seen] == ids
    assert {user["id"]: user["role"] for user in seen[:3]} == {
        made[1].user["id"]: "moderator",
        made[0].user["id"]: "student",
        admin.user["id"]: "admin",
    }
    assert all(set(user) == {"id", "display_name", "role", "created_at", "_links"} for user in seen)


async def test_an_admin_gives_a_role(client: httpx.AsyncClient, admin: Any, account: Any) -> None:
    changed = await give(client, admin, account, "moderator")
    assert changed.status_code == 200, changed.text
    assert (changed.json()["id"], changed.json()["role"]) == (account.user["id"], "moderator")
    assert await role_of(client, account) == "moderator"
    shown = await client.get(f"{URL}/{account.user['id']}", headers=admin.headers)
    assert (shown.json(), shown.headers["etag"]) == (changed.json(), changed.headers["etag"])


async def test_it_stands_in_the_trail_of_who_got_it(
    client: httpx.AsyncClient, admin: Any, account: Any, postgres: Any
) -> None:
    for _ in range(2):
        assert (await give(client, admin, account, "moderator")).status_code == 200
    events = (await client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    (event,) = [event for event in events if event["kind"] == "role_changed"]
    assert event["details"] == {"from": "student", "to": "moderator"}
    assert event["by_owner"] is False
    owner = await asyncpg.connect(postgres.owner_url)
    actor = await owner.fetchval("SELECT actor_id FROM audit_events WHERE id = $1", event["id"])
    await owner.close()
    assert str(actor) == admin.user["id"]


@pytest.mark.parametrize("role", ["student", "moderator"])
async def test_others_are_refused(
    client: httpx.AsyncClient, account: Any, register_as: RegisterAs, role: str
) -> None:
    asker = await register_as(role)
    path = f"{URL}/{account.user['id']}"
    for answer in (
        await client.get(URL, headers=asker.headers),
        await client.get(path, headers=asker.headers),
        await client.get(f"{URL}/{uuid4()}", headers=asker.headers),
        await give(client, asker, account, "admin"),
        await give(client, asker, asker, "admin"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await role_of(client, account) == "student"


async def test_without_a_token(client: httpx.AsyncClient, account: Any) -> None:
    path = f"{URL}/{account.user['id']}"
    assert (await client.get(URL)).status_code == 401
    assert (await client.get(path)).status_code == 401
    assert (await client.patch(path, json={"role": "admin"})).status_code == 401


async def test_nobody_changes_their_own_role(client: httpx.AsyncClient, admin: Any) -> None:
    for role in ("student", "admin"):
        answer = await give(client, admin, admin, role)
        assert (answer.status_code, answer.json()["code"]) == (403, "own_role")
    assert await role_of(client, admin) == "admin"


async def test_of_two_who_take_each_others_role_one_stays(
    client: httpx.AsyncClient, register_as: RegisterAs
) -> None:
    for _ in range(3):
        one, other = await register_as("admin"), await register_as("admin")
        answers = await asyncio.gather(
            give(client, one, other, "student"), give(client, other, one, "student")
        )
        assert sorted(answer.status_code for answer in answers) == [200, 403]
        assert sorted([await role_of(client, one), await role_of(client, other)]) == ["admin", "student"]


async def test_a_role_that_was_taken_is_gone_whatever_the_token_says(
    client: httpx.AsyncClient, admin: Any, register_as: RegisterAs, account: Any
) -> None:
    former = await register_as("admin")
    assert (await client.get(URL, headers=former.headers)).status_code == 200
    assert (await give(client, admin, former, "student")).status_code == 200
    for answer in (
        await client.get(URL, headers=former.headers),
        await give(client, former, account, "admin"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_bad_input(client: httpx.AsyncClient, admin: Any, account: Any) -> None:
    path = f"{URL}/{account.user['id']}"
    for body in ({}, {"role": "owner"}, {"role": None}, {"role": "admin", "email": "a@b.org"}):
        answer = await client.patch(path, json=body, headers=admin.headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    missing = await client.patch(f"{URL}/{uuid4()}", json={"role": "admin"}, headers=admin.headers)
    assert (missing.status_code, missing.json()["code"]) == (404, "user_not_found")
    assert (await client.get(f"{URL}/{uuid4()}", headers=admin.headers)).status_code == 404
    assert (await client.get(f"{URL}/me", headers=admin.headers)).status_code == 422
    assert (await client.get(f"{URL}?cursor=x", headers=admin.headers)).status_code == 422
    assert await role_of(client, account) == "student"


async def test_of_two_versions_one_is_told(client: httpx.AsyncClient, admin: Any, account: Any) -> None:
    shown = await client.get(f"{URL}/{account.user['id']}", headers=admin.headers)
    tag = {"If-Match": shown.headers["etag"]}
    assert (await give(client, admin, account, "moderator", **tag)).status_code == 200
    assert (await give(client, admin, account, "admin", **tag)).status_code == 412
    assert await role_of(client, account) == "moderator"


async def test_a_token_for_scripts_gives_no_role(client: httpx.AsyncClient, admin: Any, account: Any) -> None:
    body = {"name": "script", "scopes": ["read", "write"]}
    made = await client.post("/api/v1/auth/tokens", json=body, headers=admin.headers)
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    assert (await client.get(URL, headers=headers)).status_code == 200
    answer = await client.patch(f"{URL}/{account.user['id']}", json={"role": "admin"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "login_required")


async def test_a_version_that_is_new_meanwhile_is_looked_at_too(
    client: httpx.AsyncClient,
    admin: Any,
    account: Any,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The account changes between the look at it and the change of its role."""
    tag = (await client.get(f"{URL}/{account.user['id']}", headers=admin.headers)).headers["etag"]
    owner = await asyncpg.connect(postgres.owner_url)
    original, calls = accounts.set_role, 0

    async def set_role(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (1, 3):
            query = "UPDATE users SET last_active_at = now() WHERE id = $1"
            await owner.execute(query, account.user["id"])
        return await original(*arguments, **more)

    monkeypatch.setattr(accounts, "set_role", set_role)
    assert (await give(client, admin, account, "admin", **{"If-Match": tag})).status_code == 412
    assert await role_of(client, account) == "student"
    calls = 2
    assert (await give(client, admin, account, "moderator")).status_code == 200
    assert calls == 4
    await owner.close()

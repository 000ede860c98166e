"""Where a user is logged in, and how that ends."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import jwt
import pytest
from fastapi import FastAPI

from little_monster.db.base import new_id
from little_monster.db.repositories import refresh_tokens
from little_monster.platform.security import Principal
from tests.fixtures.ids import NOBODYS
from tests.fixtures.watch import PASSWORD

URL = "/api/v1/auth/sessions"
Register = Callable[[], Awaitable[Any]]
LogIn = Callable[..., Awaitable[httpx.Response]]


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def session_of(tokens: dict[str, Any]) -> str:
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    return str(claims["sid"])


async def refresh(client: httpx.AsyncClient, tokens: dict[str, Any]) -> httpx.Response:
    body = {"refresh_token": tokens["refresh_token"]}
    return await client.post("/api/v1/auth/refresh-token", json=body)


async def shown(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    response = await client.get(URL, headers=headers)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_each_log_in_is_a_session(client: httpx.AsyncClient, account: Any, log_in: LogIn) -> None:
    client.headers["User-Agent"] = "Monster/" + "9" * 300
    second = (await log_in(account.email)).json()["tokens"]
    newest, oldest = await shown(client, bearer(second))
    assert newest["id"] == session_of(second)
    assert oldest["id"] == session_of(account.tokens)
    assert (newest["current"], oldest["current"]) == (True, False)
    assert newest["user_agent"] == ("Monster/" + "9" * 300)[:200]
    assert newest["_links"]["revoke"]["href"] == f"{URL}/{newest['id']}"


async def test_an_address_is_cut_to_its_network(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app=app, client=("198.51.100.77", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        email = f"{new_id()}@example.com"
        body = {"email": email, "password": "correct horse battery", "display_name": "Ada"}
        tokens = (await client.post("/api/v1/auth/register", json=body)).json()["tokens"]
        (session,) = await shown(client, bearer(tokens))
        assert session["address_prefix"] == "198.51.100.0/24"
        events = (await client.get("/api/v1/auth/events", headers=bearer(tokens))).json()["items"]
        assert [event["address_prefix"] for event in events] == ["198.51.100.0/24"]


async def test_refreshing_keeps_the_session(client: httpx.AsyncClient, account: Any) -> None:
    (before,) = await shown(client, account.headers)
    renewed = (await refresh(client, account.tokens)).json()
    (after,) = await shown(client, bearer(renewed))
    assert session_of(renewed) == after["id"] == before["id"]
    assert datetime.fromisoformat(after["last_used_at"]) > datetime.fromisoformat(before["last_used_at"])


async def test_revoking_one_ends_it_and_no_other(
    client: httpx.AsyncClient, account: Any, log_in: LogIn
) -> None:
    other = (await log_in(account.email)).json()["tokens"]
    response = await client.delete(f"{URL}/{session_of(other)}", headers=account.headers)
    assert (response.status_code, response.content) == (204, b"")
    assert (await refresh(client, other)).status_code == 401
    assert [one["id"] for one in await shown(client, account.headers)] == [session_of(account.tokens)]
    assert (await refresh(client, account.tokens)).status_code == 200
    again = await client.delete(f"{URL}/{session_of(other)}", headers=account.headers)
    assert (again.status_code, again.json()["code"]) == (404, "session_not_found")


async def test_an_access_token_outlives_its_session_by_minutes(
    client: httpx.AsyncClient, account: Any
) -> None:
    """What the documentation promises: it is not looked up, but where it would do more than it lasts."""
    assert (await client.delete(f"{URL}/{session_of(account.tokens)}", headers=account.headers)).is_success
    assert (await client.get("/api/v1/users/me", headers=account.headers)).status_code == 200
    assert (await client.get(URL, headers=account.headers)).status_code == 401


async def test_somebody_elses_session_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Register
) -> None:
    ada, eve = await register(), await register()
    theirs = await client.delete(f"{URL}/{session_of(ada.tokens)}", headers=eve.headers)
    missing = await client.delete(f"{URL}/{new_id()}", headers=eve.headers)
    assert (theirs.status_code, missing.status_code) == (404, 404)
    assert (theirs.json()["code"], theirs.json()["detail"]) == (
        missing.json()["code"],
        missing.json()["detail"],
    )
    assert (await refresh(client, ada.tokens)).status_code == 200
    assert len(await shown(client, eve.headers)) == 1


async def test_pages(client: httpx.AsyncClient, account: Any, log_in: LogIn) -> None:
    made = [session_of((await log_in(account.email)).json()["tokens"]) for _ in range(4)]
    seen: list[str] = []
    url: str | None = f"{URL}?limit=2"
    while url:
        page = (await client.get(url, headers=account.headers)).json()
        seen += [one["id"] for one in page["items"]]
        url = page["_links"].get("next", {}).get("href")
    assert seen == [*reversed(made), session_of(account.tokens)]
    assert (await client.get(f"{URL}?cursor=x", headers=account.headers)).json()["code"] == "invalid_cursor"
    assert (await client.get(f"{URL}?limit=0", headers=account.headers)).status_code == 422


async def test_sessions_that_cannot_be_refreshed_any_more_are_not_shown(
    client: httpx.AsyncClient, account: Any, postgres: Any
) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    await connection.execute(
        "UPDATE sessions SET last_used_at = now() - interval '31 days' WHERE user_id = $1",
        UUID(account.user["id"]),
    )
    await connection.close()
    assert await shown(client, account.headers) == []


async def test_log_out_everywhere(client: httpx.AsyncClient, account: Any, log_in: LogIn) -> None:
    others = [(await log_in(account.email)).json()["tokens"] for _ in range(2)]
    response = await client.post("/api/v1/auth/logout-everywhere", headers=account.headers)
    assert response.status_code == 204
    for tokens in (account.tokens, *others):
        assert (await refresh(client, tokens)).status_code == 401
    assert (await log_in(account.email)).status_code == 200


async def test_log_out_everywhere_leaves_others_alone(client: httpx.AsyncClient, register: Register) -> None:
    ada, eve = await register(), await register()
    await client.post("/api/v1/auth/logout-everywhere", headers=eve.headers)
    assert (await refresh(client, ada.tokens)).status_code == 200


async def test_of_fifty_uses_of_one_token_one_wins(client: httpx.AsyncClient, account: Any) -> None:
    answers = await asyncio.gather(*(refresh(client, account.tokens) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    # Somebody of the fifty was a thief, and nobody knows who.
    assert (await refresh(client, winner.json())).status_code == 401
    assert (await client.get(URL, headers=account.headers)).status_code == 401


async def test_no_token_is_made_while_its_session_ends(
    client: httpx.AsyncClient, account: Any, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who ends a session waits for a rotation that is under way, and revokes what that made."""
    tokens, create = (await log_in(account.email)).json()["tokens"], refresh_tokens.create

    async def create_slowly(*args: Any, **options: Any) -> Any:
        row = await create(*args, **options)
        await asyncio.sleep(0.3)
        return row

    async def end() -> httpx.Response:
        await asyncio.sleep(0.1)
        return await client.delete(f"{URL}/{session_of(tokens)}", headers=account.headers)

    monkeypatch.setattr(refresh_tokens, "create", create_slowly)
    rotated, ended = await asyncio.gather(refresh(client, tokens), end())
    assert (rotated.status_code, ended.status_code) == (200, 204)
    assert (await refresh(client, rotated.json())).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", f"/{NOBODYS}"), ("POST", "/../logout-everywhere"), ("GET", "/../events")],
)
async def test_without_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, f"{URL}{path}")
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_an_id_that_is_none(client: httpx.AsyncClient, account: Any) -> None:
    response = await client.delete(f"{URL}/7", headers=account.headers)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "path.session_id")


LOG_IN_ONLY = [
    ("POST", "/auth/tokens", {"name": "thief", "scopes": ["read", "write"], "expires_in_days": None}),
    ("GET", "/auth/tokens", None),
    ("DELETE", f"/auth/tokens/{NOBODYS}", None),
    ("GET", "/auth/sessions", None),
    ("DELETE", f"/auth/sessions/{NOBODYS}", None),
    ("POST", "/auth/logout-everywhere", None),
    ("GET", "/auth/events", None),
    ("POST", "/auth/totp", {"password": PASSWORD}),
    ("POST", "/auth/totp/confirm", {"code": "123456"}),
    ("DELETE", "/auth/totp", {"password": PASSWORD}),
    ("POST", "/auth/password/change", {"current_password": PASSWORD, "new_password": "quiet lantern orbit"}),
    ("POST", "/auth/verify-email/request", None),
    ("POST", "/users/me/export", None),
    ("DELETE", "/users/me", {"password": PASSWORD}),
]


@pytest.mark.parametrize(("method", "path", "body"), LOG_IN_ONLY)
async def test_a_session_that_ended_is_no_log_in(
    client: httpx.AsyncClient, account: Any, log_in: LogIn, method: str, path: str, body: Any
) -> None:
    """Whoever holds an access token must not make more of it after its owner has ended the session."""
    theirs = bearer((await log_in(account.email)).json()["tokens"])
    before = await client.get(URL, headers=theirs)
    assert before.status_code == 200
    (ended,) = [one["id"] for one in before.json()["items"] if one["current"]]
    assert (await client.delete(f"{URL}/{ended}", headers=account.headers)).status_code == 204
    refused = await client.request(method, f"/api/v1{path}", json=body, headers=theirs)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert (await client.get(URL, headers=account.headers)).status_code == 200
    assert (await client.get("/api/v1/users/me", headers=theirs)).status_code == 200, "for its last minutes"


async def test_a_changed_password_ends_what_others_can_do(
    client: httpx.AsyncClient, account: Any, log_in: LogIn
) -> None:
    theirs = bearer((await log_in(account.email)).json()["tokens"])
    body = {"current_password": PASSWORD, "new_password": "quiet lantern orbit 42"}
    changed = await client.post("/api/v1/auth/password/change", json=body, headers=account.headers)
    assert changed.status_code == 204
    made = await client.post(
        "/api/v1/auth/tokens", json={"name": "thief", "scopes": ["write"]}, headers=theirs
    )
    assert made.status_code == 401
    assert (await client.get("/api/v1/auth/tokens", headers=account.headers)).json()["items"] == []


async def test_a_token_without_a_session_is_no_log_in(
    app: FastAPI, client: httpx.AsyncClient, account: Any
) -> None:
    token = app.state.resources.tokens.issue(Principal(UUID(account.user["id"]), "student"))
    response = await client.get(URL, headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")

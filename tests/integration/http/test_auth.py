"""Accounts over the real database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.base import new_id
from little_monster.db.session import Database
from little_monster.platform.security import Principal
from tests.fixtures.watch import PASSWORD

Register = Callable[[], Awaitable[Any]]


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/v1/auth/login", json={"email": email, "password": password})


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/v1/auth/refresh-token", json={"refresh_token": token})


def same_body(one: httpx.Response, other: httpx.Response) -> bool:
    return {**one.json(), "request_id": ""} == {**other.json(), "request_id": ""}


async def test_register_answers_with_user_and_tokens(client: httpx.AsyncClient) -> None:
    email = f"ADA.{new_id()}@Example.COM"
    body = {"email": email, "password": PASSWORD, "display_name": "  Ada  "}
    response = await client.post("/api/v1/auth/register", json=body)
    assert response.status_code == 201
    assert response.headers["location"] == "/api/v1/users/me"
    assert response.headers["cache-control"] == "no-store"
    user, tokens = response.json()["user"], response.json()["tokens"]
    assert (user["email"], user["display_name"], user["role"]) == (email.lower(), "Ada", "student")
    assert user["_links"]["self"] == {"href": "/api/v1/users/me"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    assert "password" not in response.text


async def test_me(client: httpx.AsyncClient, account: Any) -> None:
    response = await client.get("/api/v1/users/me", headers=account.headers)
    assert response.status_code == 200
    assert response.json()["id"] == account.user["id"]


async def test_second_account_with_an_address_is_refused(client: httpx.AsyncClient, account: Any) -> None:
    body = {"email": account.email.upper(), "password": PASSWORD, "display_name": "Eve"}
    response = await client.post("/api/v1/auth/register", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "email_taken")


async def test_short_password_is_refused(client: httpx.AsyncClient) -> None:
    body = {"email": "a@example.com", "password": "123456789", "display_name": "A"}
    response = await client.post("/api/v1/auth/register", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.password"


async def test_log_in_whatever_the_case_of_the_address(client: httpx.AsyncClient, account: Any) -> None:
    response = await log_in(client, account.email.upper())
    assert response.status_code == 200
    assert response.json()["user"]["id"] == account.user["id"]
    seen = (account.user["last_active_at"], response.json()["user"]["last_active_at"])
    assert seen[0] < seen[1]


async def test_wrong_password_and_unknown_address_are_answered_alike(
    client: httpx.AsyncClient, account: Any
) -> None:
    wrong = await log_in(client, account.email, "wrong password")
    unknown = await log_in(client, f"{new_id()}@example.com")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json()["code"] == "invalid_credentials"
    assert same_body(wrong, unknown)
    assert {*wrong.headers} == {*unknown.headers}


async def test_refresh_rotates(client: httpx.AsyncClient, account: Any) -> None:
    first = await refresh(client, account.tokens["refresh_token"])
    assert first.status_code == 200
    assert first.json()["refresh_token"] != account.tokens["refresh_token"]
    second = await refresh(client, first.json()["refresh_token"])
    assert second.status_code == 200
    headers = {"Authorization": f"Bearer {second.json()['access_token']}"}
    assert (await client.get("/api/v1/users/me", headers=headers)).status_code == 200


async def test_second_use_revokes_the_family_and_no_other(client: httpx.AsyncClient, account: Any) -> None:
    elsewhere = (await log_in(client, account.email)).json()["tokens"]["refresh_token"]
    old = account.tokens["refresh_token"]
    new = (await refresh(client, old)).json()["refresh_token"]
    assert (await refresh(client, old)).status_code == 401
    assert (await refresh(client, new)).status_code == 401
    assert (await refresh(client, elsewhere)).status_code == 200


async def test_of_many_uses_at_once_at_most_one_wins(client: httpx.AsyncClient, account: Any) -> None:
    token = account.tokens["refresh_token"]
    answers = await asyncio.gather(*(refresh(client, token) for _ in range(6)))
    winners = [answer for answer in answers if answer.status_code == 200]
    assert len(winners) <= 1
    assert {answer.status_code for answer in answers} <= {200, 401}
    for winner in winners:
        assert (await refresh(client, winner.json()["refresh_token"])).status_code == 401


async def test_who_refreshes_is_active_but_the_row_is_not_written_each_time(
    client: httpx.AsyncClient, account: Any, postgres: Any
) -> None:
    async def active() -> datetime:
        shown = await client.get("/api/v1/users/me", headers=account.headers)
        return datetime.fromisoformat(shown.json()["last_active_at"])

    token, ages = account.tokens["refresh_token"], []
    for minutes in (4, 6):
        owner = await asyncpg.connect(postgres.owner_url)
        ago = "UPDATE users SET last_active_at = now() - $2::interval WHERE id = $1"
        await owner.execute(ago, account.user["id"], timedelta(minutes=minutes))
        await owner.close()
        token = (await refresh(client, token)).json()["refresh_token"]
        ages.append((datetime.now(UTC) - await active()).total_seconds())
    assert 240 <= ages[0] < 300
    assert ages[1] < 60


async def test_bad_refresh_tokens_are_answered_alike(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    used = account.tokens["refresh_token"]
    await refresh(client, used)
    unknown = await refresh(client, "A" * 43)
    reused = await refresh(client, used)
    access = await refresh(client, "not-a-token")
    assert [one.status_code for one in (unknown, reused, access)] == [401, 401, 401]
    assert unknown.json()["code"] == "invalid_refresh_token"
    assert same_body(unknown, reused)
    assert same_body(unknown, access)


async def test_expired_refresh_token(client: httpx.AsyncClient, account: Any, postgres: Any) -> None:
    await _expire(postgres, UUID(account.user["id"]))
    assert (await refresh(client, account.tokens["refresh_token"])).status_code == 401


async def test_log_out(client: httpx.AsyncClient, account: Any) -> None:
    body = {"refresh_token": account.tokens["refresh_token"]}
    response = await client.post("/api/v1/auth/logout", json=body)
    assert (response.status_code, response.content) == (204, b"")
    assert (await refresh(client, body["refresh_token"])).status_code == 401
    assert (await client.post("/api/v1/auth/logout", json=body)).status_code == 204


async def test_token_of_a_deleted_account(app: FastAPI, client: httpx.AsyncClient) -> None:
    token = app.state.resources.tokens.issue(Principal(new_id(), "student"))
    response = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_expired_access_token(app: FastAPI, client: httpx.AsyncClient, account: Any) -> None:
    principal = Principal(UUID(account.user["id"]), "student")
    token = app.state.resources.tokens.issue(principal, datetime.now(UTC) - timedelta(minutes=15, seconds=1))
    response = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401


@pytest.mark.parametrize("path", ["login", "refresh-token", "logout", "register"])
async def test_hostile_bodies_are_no_server_errors(client: httpx.AsyncClient, path: str) -> None:
    for body in (
        None,
        [],
        "x",
        7,
        {"email": {"a": 1}},
        {"email": "a\x00@b.example", "password": "\x00" * 12},
    ):
        response = await client.post(f"/api/v1/auth/{path}", json=body)
        assert response.status_code == 422, response.text


async def _expire(postgres: Any, user_id: UUID) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    try:
        await connection.execute(
            "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE user_id = $1", user_id
        )
    finally:
        await connection.close()

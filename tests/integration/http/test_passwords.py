"""Changing a password, and setting a new one when it is forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.message import Message
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from little_monster.db.base import new_id

PASSWORD, NEW = "correct horse battery", "quiet lantern orbit 42"
LogIn = Callable[..., Awaitable[httpx.Response]]
MailTo = Callable[..., Awaitable[list[Message]]]
CodeOf = Callable[[Message], str]


async def change(client: httpx.AsyncClient, headers: dict[str, str], **body: str) -> httpx.Response:
    json = {"current_password": PASSWORD, "new_password": NEW, **body}
    return await client.post("/api/v1/auth/password/change", json=json, headers=headers)


async def ask(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/api/v1/auth/password/reset/request", json={"email": email})


async def reset(client: httpx.AsyncClient, code: str, password: str = NEW) -> httpx.Response:
    body = {"code": code, "new_password": password}
    return await client.post("/api/v1/auth/password/reset", json=body)


async def refresh(client: httpx.AsyncClient, tokens: dict[str, Any]) -> int:
    body = {"refresh_token": tokens["refresh_token"]}
    return (await client.post("/api/v1/auth/refresh-token", json=body)).status_code


@pytest.fixture
async def code(client: httpx.AsyncClient, account: Any, mail_to: MailTo, code_of: CodeOf) -> str:
    assert (await ask(client, account.email)).status_code == 202
    (message,) = await mail_to(account.email, "Set a new password")
    return code_of(message)


async def test_change(client: httpx.AsyncClient, account: Any, log_in: LogIn, mail_to: MailTo) -> None:
    other = (await log_in(account.email)).json()["tokens"]
    response = await change(client, account.headers)
    assert (response.status_code, response.content) == (204, b"")
    assert (await log_in(account.email)).status_code == 401
    assert (await log_in(account.email, password=NEW)).status_code == 200
    assert await refresh(client, other) == 401
    assert await refresh(client, account.tokens) == 200
    assert len(await mail_to(account.email, "Your password was changed")) == 1
    events = (await client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    (event,) = [one for one in events if one["kind"] == "password_changed"]
    assert event["details"] == {"sessions_ended": 1}


async def test_change_needs_the_old_password(
    client: httpx.AsyncClient, account: Any, log_in: LogIn, mail_to: MailTo
) -> None:
    response = await change(client, account.headers, current_password="wrong password")
    assert (response.status_code, response.json()["code"]) == (403, "wrong_password")
    assert (await log_in(account.email)).status_code == 200
    assert await mail_to(account.email, "Your password was changed") == []


async def test_change_without_a_token(client: httpx.AsyncClient) -> None:
    assert (await change(client, {})).status_code == 401


async def test_guessing_the_old_password_is_throttled(client: httpx.AsyncClient, account: Any) -> None:
    answers = [
        (await change(client, account.headers, current_password="wrong password")).status_code
        for _ in range(13)
    ]
    # Where a minute ends between them, one or two more pass.
    assert answers[:10] == [403] * 10
    assert answers[-1] == 429


@pytest.mark.parametrize("weak", ["password123", "1234567890", "qwertyuiop", "Password123!", "aaaaaaaaaaaa"])
async def test_common_passwords_are_refused(client: httpx.AsyncClient, account: Any, weak: str) -> None:
    body = {"email": f"{new_id()}@example.com", "password": weak, "display_name": "A"}
    registered = await client.post("/api/v1/auth/register", json=body)
    assert (registered.status_code, registered.json()["code"]) == (422, "weak_password")
    assert registered.json()["errors"][0]["field"] == "body.password"
    assert weak not in registered.text
    changed = await change(client, account.headers, new_password=weak)
    assert (changed.status_code, changed.json()["code"]) == (422, "weak_password")
    assert changed.json()["errors"][0]["field"] == "body.new_password"


async def test_a_password_with_the_address_in_it_is_refused(client: httpx.AsyncClient) -> None:
    name = f"zq{new_id().hex[-12:]}"
    body = {"email": f"{name}@example.com", "password": f"{name.upper()} and more", "display_name": "A"}
    response = await client.post("/api/v1/auth/register", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "weak_password")
    assert "e-mail" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("new", ["short", "x" * 257, None, 7])
async def test_new_passwords_of_the_wrong_shape(client: httpx.AsyncClient, account: Any, new: Any) -> None:
    response = await change(client, account.headers, new_password=new)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "body.new_password")


async def test_reset(
    client: httpx.AsyncClient, account: Any, code: str, log_in: LogIn, mail_to: MailTo
) -> None:
    response = await reset(client, code)
    assert (response.status_code, response.content) == (204, b"")
    assert (await log_in(account.email)).status_code == 401
    logged_in = await log_in(account.email, password=NEW)
    assert logged_in.json()["user"]["email_verified_at"] is not None
    assert await refresh(client, account.tokens) == 401
    assert len(await mail_to(account.email, "Your password was changed")) == 1
    headers = {"Authorization": f"Bearer {logged_in.json()['tokens']['access_token']}"}
    events = (await client.get("/api/v1/auth/events", headers=headers)).json()["items"]
    kinds = [event["kind"] for event in events]
    assert kinds[1:4] == ["login_failed", "password_reset", "password_reset_requested"]


async def test_an_unknown_address_is_answered_alike(
    client: httpx.AsyncClient, account: Any, mail_to: MailTo
) -> None:
    unknown = f"{new_id()}@example.com"
    answers = [await ask(client, email) for email in (account.email, unknown)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content == b""
    assert {*answers[0].headers} == {*answers[1].headers}
    assert await mail_to(unknown) == []


async def test_a_code_is_good_once(client: httpx.AsyncClient, account: Any, code: str) -> None:
    answers = await asyncio.gather(*(reset(client, code) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422]
    again = await reset(client, code)
    assert (again.status_code, again.json()["code"]) == (422, "invalid_code")


async def test_a_weak_password_does_not_use_the_code_up(
    client: httpx.AsyncClient, account: Any, code: str
) -> None:
    assert (await reset(client, code, "password123")).json()["code"] == "weak_password"
    assert (await reset(client, code)).status_code == 204


async def test_a_newer_code_ends_the_older(
    client: httpx.AsyncClient, account: Any, code: str, mail_to: MailTo, code_of: CodeOf
) -> None:
    await ask(client, account.email)
    newer = code_of((await mail_to(account.email, "Set a new password"))[-1])
    assert (await reset(client, code)).json()["code"] == "invalid_code"
    assert (await reset(client, newer)).status_code == 204


async def test_changing_the_password_ends_codes(client: httpx.AsyncClient, account: Any, code: str) -> None:
    assert (await change(client, account.headers)).status_code == 204
    assert (await reset(client, code, PASSWORD)).json()["code"] == "invalid_code"


async def test_expired_code(client: httpx.AsyncClient, account: Any, code: str, postgres: Any) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    await connection.execute(
        "UPDATE email_codes SET expires_at = now() - interval '1 second' WHERE user_id = $1",
        UUID(account.user["id"]),
    )
    await connection.close()
    assert (await reset(client, code)).json()["code"] == "invalid_code"


async def test_a_code_lives_an_hour(account: Any, code: str, postgres: Any) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    query = """
        SELECT expires_at - created_at FROM email_codes WHERE user_id = $1 AND purpose = 'reset_password'
    """
    lifetime = await connection.fetchval(query, UUID(account.user["id"]))
    await connection.close()
    assert timedelta(minutes=59) < lifetime < timedelta(minutes=61)


async def test_bad_codes_are_answered_alike(client: httpx.AsyncClient, account: Any, code: str) -> None:
    unknown = await reset(client, "A" * 43)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_code")
    assert (await reset(client, code)).status_code == 204
    used = await reset(client, code)
    assert {**used.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    for bad in ("", "a b", "x" * 201, "ä"):
        assert (await reset(client, bad)).json()["errors"][0]["field"] == "body.code"


async def test_a_mailbox_is_not_filled(client: httpx.AsyncClient, account: Any, mail_to: MailTo) -> None:
    answers = await asyncio.gather(*(ask(client, account.email) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(await mail_to(account.email, "Set a new password")) == 5


async def test_the_code_is_kept_as_a_hash(account: Any, code: str, postgres: Any) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    rows = await connection.fetch("SELECT * FROM email_codes WHERE user_id = $1", UUID(account.user["id"]))
    await connection.close()
    assert rows
    assert code not in str(rows)
    assert {len(row["code_hash"]) for row in rows} == {32}

"""Verifying the address of an account."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.message import Message
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from little_monster.db.session import Database
from tests.fixtures.emails import change_email

URL = "/api/v1/auth/verify-email"
MailTo = Callable[..., Awaitable[list[Message]]]
CodeOf = Callable[[Message], str]


async def verify(client: httpx.AsyncClient, code: str) -> httpx.Response:
    return await client.post(URL, json={"code": code})


async def verified_at(client: httpx.AsyncClient, account: Any) -> str | None:
    found: str | None = (await client.get("/api/v1/users/me", headers=account.headers)).json()[
        "email_verified_at"
    ]
    return found


async def test_registering_sends_a_code_that_verifies(
    client: httpx.AsyncClient, account: Any, mail_to: MailTo, code_of: CodeOf
) -> None:
    (message,) = await mail_to(account.email)
    assert message["Subject"] == "Confirm your e-mail address"
    assert message["From"] == "Little Monster <little-monster@localhost>"
    assert await verified_at(client, account) is None
    response = await verify(client, code_of(message))
    assert (response.status_code, response.content) == (204, b"")
    assert await verified_at(client, account) is not None
    again = await verify(client, code_of(message))
    assert (again.status_code, again.json()["code"]) == (422, "invalid_code")
    events = (await client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    assert events[0]["kind"] == "email_verified"


async def test_asking_again_ends_the_first_code(
    client: httpx.AsyncClient, account: Any, mail_to: MailTo, code_of: CodeOf
) -> None:
    response = await client.post(f"{URL}/request", headers=account.headers)
    assert (response.status_code, response.content) == (202, b"")
    first, second = await mail_to(account.email)
    assert (await verify(client, code_of(first))).status_code == 422
    assert (await verify(client, code_of(second))).status_code == 204
    done = await client.post(f"{URL}/request", headers=account.headers)
    assert (done.status_code, done.json()["code"]) == (409, "email_verified")


async def test_a_code_lives_a_day(account: Any, mail_to: MailTo, postgres: Any) -> None:
    assert len(await mail_to(account.email)) == 1
    connection = await asyncpg.connect(postgres.owner_url)
    query = "SELECT expires_at - created_at FROM email_codes WHERE user_id = $1"
    lifetime = await connection.fetchval(query, UUID(account.user["id"]))
    await connection.close()
    assert timedelta(hours=23, minutes=59) < lifetime < timedelta(hours=24, minutes=1)


async def test_a_mailbox_is_not_filled(client: httpx.AsyncClient, account: Any, mail_to: MailTo) -> None:
    for _ in range(6):
        assert (await client.post(f"{URL}/request", headers=account.headers)).status_code == 202
    assert len(await mail_to(account.email)) == 5


async def test_a_code_is_for_one_purpose(
    client: httpx.AsyncClient, account: Any, mail_to: MailTo, code_of: CodeOf
) -> None:
    (message,) = await mail_to(account.email)
    body = {"code": code_of(message), "new_password": "quiet lantern orbit 42"}
    response = await client.post("/api/v1/auth/password/reset", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_code")
    await client.post("/api/v1/auth/password/reset/request", json={"email": account.email})
    reset = code_of((await mail_to(account.email, "Set a new password"))[0])
    assert (await verify(client, reset)).json()["code"] == "invalid_code"


async def test_a_code_is_for_the_address_that_it_was_sent_to(
    client: httpx.AsyncClient, account: Any, database: Database, mail_to: MailTo, code_of: CodeOf
) -> None:
    user_id = UUID(account.user["id"])
    await change_email(database, user_id, f"new-{account.email}")
    (message,) = await mail_to(account.email)
    assert (await verify(client, code_of(message))).json()["code"] == "invalid_code"
    assert await verified_at(client, account) is None


async def test_another_address_is_not_verified(
    client: httpx.AsyncClient, account: Any, database: Database, mail_to: MailTo, code_of: CodeOf
) -> None:
    await verify(client, code_of((await mail_to(account.email))[0]))
    user_id = UUID(account.user["id"])
    await change_email(database, user_id, account.email.upper())
    assert await verified_at(client, account) is not None
    await change_email(database, user_id, f"new-{account.email}")
    assert await verified_at(client, account) is None


async def test_bad_codes(client: httpx.AsyncClient) -> None:
    unknown = await verify(client, "A" * 43)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_code")
    for body in (None, {}, {"code": 7}, {"code": "a\x00"}, {"code": "x", "more": 1}):
        assert (await client.post(URL, json=body)).status_code == 422


async def test_asking_without_a_token(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{URL}/request")).status_code == 401


async def test_somebody_elses_code_verifies_their_address_only(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], mail_to: MailTo, code_of: CodeOf
) -> None:
    ada, eve = await register(), await register()
    response = await client.post(
        URL, json={"code": code_of((await mail_to(ada.email))[0])}, headers=eve.headers
    )
    assert response.status_code == 204
    assert await verified_at(client, ada) is not None
    assert await verified_at(client, eve) is None

"""The second factor: turned on, asked for, used once, replaced by recovery codes, turned off."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from pyotp import HOTP

from little_monster.db.base import new_id
from little_monster.platform.settings import Settings
from tests.fixtures.watch import PASSWORD

URL = "/api/v1/auth/totp"
LogIn = Callable[..., Awaitable[httpx.Response]]


def code(secret: str, offset: int = 0) -> str:
    """Return the code of now, or of the period `offset` later. One of the next period is good already."""
    return HOTP(secret).at(int(time.time()) // 30 + offset)


async def ask_for_secret(client: httpx.AsyncClient, account: Any, password: str = PASSWORD) -> httpx.Response:
    return await client.post(URL, json={"password": password}, headers=account.headers)


async def begin(client: httpx.AsyncClient, account: Any) -> str:
    response = await ask_for_secret(client, account)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    secret: str = response.json()["secret"]
    return secret


async def confirm(client: httpx.AsyncClient, account: Any, shown: str) -> httpx.Response:
    return await client.post(f"{URL}/confirm", json={"code": shown}, headers=account.headers)


async def turn_off(client: httpx.AsyncClient, account: Any, password: str = PASSWORD) -> httpx.Response:
    return await client.request("DELETE", URL, json={"password": password}, headers=account.headers)


class Enrolled(NamedTuple):
    """What somebody with a second factor has; `shown` is the code that confirmed it."""

    secret: str
    codes: list[str]
    shown: str


@pytest.fixture
async def enrolled(client: httpx.AsyncClient, account: Any) -> Enrolled:
    secret = await begin(client, account)
    shown = code(secret)
    response = await confirm(client, account, shown)
    assert response.status_code == 200, response.text
    return Enrolled(secret, response.json()["recovery_codes"], shown)


async def test_begin_shows_what_an_application_reads(client: httpx.AsyncClient, account: Any) -> None:
    response = await ask_for_secret(client, account)
    secret, uri = response.json()["secret"], urlsplit(response.json()["otpauth_uri"])
    assert len(secret) == 32
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == f"/Little Monster:{account.email}"
    assert parse_qs(uri.query) == {"secret": [secret], "issuer": ["Little Monster"]}


async def test_beginning_needs_the_password(
    client: httpx.AsyncClient, account: Any, log_in: LogIn, postgres: Any
) -> None:
    wrong = await ask_for_secret(client, account, "wrong password")
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    without = await client.post(URL, headers=account.headers)
    assert (without.status_code, without.json()["errors"][0]["field"]) == (422, "body")
    connection = await asyncpg.connect(postgres.owner_url)
    query = "SELECT count(*) FROM totp_credentials WHERE user_id = $1"
    assert await connection.fetchval(query, UUID(account.user["id"])) == 0
    await connection.close()


async def test_guessing_the_password_is_throttled(client: httpx.AsyncClient, account: Any) -> None:
    answers = [(await ask_for_secret(client, account, "wrong password")).status_code for _ in range(13)]
    # Where a minute ends between them, one or two more pass.
    assert answers[:10] == [403] * 10
    assert answers[-1] == 429


async def test_who_knew_the_old_password_confirms_nothing(
    client: httpx.AsyncClient, account: Any, log_in: LogIn
) -> None:
    """What they began ends with the password that began it."""
    secret = await begin(client, account)
    body = {"current_password": PASSWORD, "new_password": "quiet lantern orbit 42"}
    changed = await client.post("/api/v1/auth/password/change", json=body, headers=account.headers)
    assert changed.status_code == 204
    response = await confirm(client, account, code(secret))
    assert (response.status_code, response.json()["code"]) == (404, "totp_not_found")
    assert (await log_in(account.email, password="quiet lantern orbit 42")).status_code == 200


async def test_a_reset_leaves_it_on(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn, mail_to: Any, code_of: Any
) -> None:
    """Who reads the mail of somebody has one factor, not two; recovery codes are for the lost other one."""
    new = "quiet lantern orbit 42"
    await client.post("/api/v1/auth/password/reset/request", json={"email": account.email})
    (message,) = await mail_to(account.email, "Set a new password")
    body = {"code": code_of(message), "new_password": new}
    assert (await client.post("/api/v1/auth/password/reset", json=body)).status_code == 204
    assert (await log_in(account.email, password=new)).json()["code"] == "totp_required"
    recovered = await log_in(account.email, password=new, recovery_code=enrolled.codes[0])
    assert recovered.status_code == 200


async def test_nothing_is_asked_for_before_it_is_confirmed(
    client: httpx.AsyncClient, account: Any, log_in: LogIn
) -> None:
    first = await begin(client, account)
    second = await begin(client, account)
    assert first != second
    assert (await log_in(account.email)).status_code == 200
    wrong = await confirm(client, account, code(first))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_totp_code")
    assert (await confirm(client, account, code(second))).status_code == 200


async def test_log_in(client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn) -> None:
    secret, *_ = enrolled
    missing = await log_in(account.email)
    assert (missing.status_code, missing.json()["code"]) == (401, "totp_required")
    assert "tokens" not in missing.text
    response = await log_in(account.email, totp_code=code(secret, 1))
    assert response.status_code == 200
    assert response.json()["user"]["id"] == account.user["id"]


async def test_a_code_is_good_once(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn
) -> None:
    confirmed_with = await log_in(account.email, totp_code=enrolled.shown)
    shown = code(enrolled.secret, 1)
    answers = await asyncio.gather(*(log_in(account.email, totp_code=shown) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]
    replayed = [answer for answer in answers if answer.status_code == 401]
    assert {answer.json()["code"] for answer in (*replayed, confirmed_with)} == {"invalid_second_factor"}


async def test_wrong_codes(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn
) -> None:
    secret, *_ = enrolled
    for shown in (code(secret, 9), code(secret, -9)):
        response = await log_in(account.email, totp_code=shown)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_second_factor")
    for shape in ("12345", "1234567", "12345a", "１２３４５６", ""):  # noqa: RUF001
        response = await log_in(account.email, totp_code=shape)
        assert response.json()["errors"][0]["field"] == "body.totp_code"


async def test_guessing_codes_is_throttled_for_the_account(
    app: FastAPI, account: Any, enrolled: Enrolled, client_of: Any
) -> None:
    """From wherever; confirming was the first of five attempts."""
    body = {"email": account.email, "password": PASSWORD, "totp_code": code(enrolled[0], 99)}
    answers = []
    for _ in range(6):
        async with client_of(app) as elsewhere:
            answers.append(await elsewhere.post("/api/v1/auth/login", json=body))
    assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 2
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_who_does_not_know_the_password_learns_nothing(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn
) -> None:
    secret, codes, _ = enrolled
    unknown = await log_in(f"{new_id()}@example.com")
    answers = [
        await log_in(account.email, password="wrong password"),
        await log_in(account.email, password="wrong password", totp_code=code(secret, 1)),
        await log_in(account.email, password="wrong password", recovery_code=codes[0]),
        await log_in(f"{new_id()}@example.com", totp_code="123456"),
    ]
    for answer in answers:
        assert {**answer.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
        assert {*answer.headers} == {*unknown.headers}
    assert (await log_in(account.email, totp_code=code(secret, 1))).status_code == 200


async def test_each_recovery_code_is_good_once(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn
) -> None:
    _, codes, _ = enrolled
    assert len({*codes}) == 10
    answers = await asyncio.gather(*(log_in(account.email, recovery_code=codes[0]) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    typed = codes[1].replace("-", " ").upper()
    assert (await log_in(account.email, recovery_code=typed)).status_code == 200
    refused = await log_in(account.email, recovery_code="aaaa-aaaa-aaaa-aaaa")
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_second_factor")
    events = (await client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    used = [event["details"] for event in events if event["kind"] == "recovery_code_used"]
    assert used == [{"left": 8}, {"left": 9}]
    failed = [event["details"] for event in events if event["kind"] == "login_failed"]
    assert failed == [{"reason": "second_factor"}] * 2


async def test_turning_it_off_needs_the_password(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn
) -> None:
    wrong = await turn_off(client, account, "wrong password")
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    assert (await log_in(account.email)).json()["code"] == "totp_required"
    assert (await turn_off(client, account)).status_code == 204
    assert (await log_in(account.email)).status_code == 200
    assert (await turn_off(client, account)).json()["code"] == "totp_not_found"
    events = (await client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    assert [event["kind"] for event in events] == ["login", "totp_disabled", "totp_enabled", "registered"]


async def test_old_recovery_codes_are_gone_when_it_is_on_again(
    client: httpx.AsyncClient, account: Any, enrolled: Enrolled, log_in: LogIn
) -> None:
    _, old, _ = enrolled
    await turn_off(client, account)
    secret = await begin(client, account)
    new = (await confirm(client, account, code(secret))).json()["recovery_codes"]
    assert not {*old} & {*new}
    assert (await log_in(account.email, recovery_code=old[0])).status_code == 401
    assert (await log_in(account.email, recovery_code=new[0])).status_code == 200


async def test_it_cannot_be_begun_twice(client: httpx.AsyncClient, account: Any, enrolled: Enrolled) -> None:
    response = await ask_for_secret(client, account)
    assert (response.status_code, response.json()["code"]) == (409, "totp_enabled")
    again = await confirm(client, account, code(enrolled[0], 1))
    assert (again.status_code, again.json()["code"]) == (404, "totp_not_found")


async def test_confirming_what_was_not_begun(client: httpx.AsyncClient, account: Any) -> None:
    response = await confirm(client, account, "123456")
    assert (response.status_code, response.json()["code"]) == (404, "totp_not_found")
    assert (await confirm(client, account, "x")).json()["errors"][0]["field"] == "body.code"


async def test_without_a_token(client: httpx.AsyncClient) -> None:
    answers = [
        await client.post(URL, json={"password": PASSWORD}),
        await client.post(f"{URL}/confirm", json={"code": "123456"}),
        await client.request("DELETE", URL, json={"password": "x"}),
    ]
    assert [answer.status_code for answer in answers] == [401] * 3


async def test_nothing_is_kept_as_it_is(account: Any, enrolled: Enrolled, postgres: Any) -> None:
    secret, codes, _ = enrolled
    connection = await asyncpg.connect(postgres.owner_url)
    kept = ""
    for table in ("totp_credentials", "recovery_codes", "audit_events"):
        rows = await connection.fetch(f"SELECT * FROM {table} WHERE user_id = $1", UUID(account.user["id"]))
        assert rows
        kept += str([tuple(row) for row in rows])
    await connection.close()
    for text in (secret, *codes, *(one.replace("-", "") for one in codes)):
        assert text not in kept


async def test_the_second_factor_outlives_a_new_secret(
    settings: Settings, running: Any, client_of: Any, account: Any, enrolled: Enrolled
) -> None:
    """The first log-in encrypts it anew, so that the previous secret is needed no longer."""
    secret, previous = enrolled[0], settings.auth.secret
    newer = SecretStr("another-secret-0123456789abcdef0123456789")
    rotated = settings.auth.model_copy(update={"secret": newer, "previous_secrets": [previous]})
    alone = settings.auth.model_copy(update={"secret": newer})
    body = {"email": account.email, "password": PASSWORD}
    async with running(settings.model_copy(update={"auth": rotated})) as app, client_of(app) as client:
        assert (await client.get("/api/v1/users/me", headers=account.headers)).status_code == 200
        first = await client.post("/api/v1/auth/login", json={**body, "totp_code": code(secret, 1)})
        assert first.status_code == 200
    async with running(settings.model_copy(update={"auth": alone})) as app, client_of(app) as client:
        assert (await client.get("/api/v1/users/me", headers=account.headers)).status_code == 401
        replayed = await client.post("/api/v1/auth/login", json={**body, "totp_code": code(secret)})
        assert (replayed.status_code, replayed.json()["code"]) == (401, "invalid_second_factor")

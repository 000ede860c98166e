"""The audit trail: each thing that touches an account's security leaves a row and a line in the log."""

import io
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from little_monster.db.base import new_id
from little_monster.platform.logs import setup_logs
from little_monster.platform.settings import TelemetrySettings
from tests.fixtures.watch import WATCH

URL = "/api/v1/auth/events"
LogIn = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(), stream)
    yield stream
    WATCH.hear()


def logged(log: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == "security_event"]


def bearer(login: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {login.json()['tokens']['access_token']}"}


async def events(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    response = await client.get(URL, headers=headers)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_a_visit(client: httpx.AsyncClient, account: Any, log_in: LogIn, log: io.StringIO) -> None:
    await log_in(account.email, password="wrong password")
    tokens = (await log_in(account.email)).json()["tokens"]
    used = {"refresh_token": tokens["refresh_token"]}
    for _ in range(2):
        await client.post("/api/v1/auth/refresh-token", json=used)
    await client.post("/api/v1/auth/logout", json={"refresh_token": account.tokens["refresh_token"]})
    await client.post("/api/v1/auth/logout-everywhere", headers=bearer(await log_in(account.email)))

    found = await events(client, bearer(await log_in(account.email)))
    kinds = ["registered", "login_failed", "login", "refresh_token_reused", "logout"]
    kinds += ["login", "sessions_revoked", "login"]
    assert [event["kind"] for event in reversed(found)] == kinds
    assert [event["by_owner"] for event in reversed(found)] == [True, False, True, False, *[True] * 4]
    by_kind = {event["kind"]: event for event in found}
    assert by_kind["login_failed"]["details"] == {"reason": "credentials"}
    assert by_kind["login"]["details"] == by_kind["refresh_token_reused"]["details"]
    assert by_kind["sessions_revoked"]["details"] == {"count": 1}
    lines = logged(log)
    assert [line["kind"] for line in lines] == kinds[1:]
    assert {line["level"] for line in lines if line["kind"] in ("login_failed", "refresh_token_reused")} == {
        "warning"
    }
    assert len({line["user"] for line in lines}) == 1
    assert account.user["id"] not in log.getvalue()


async def test_an_attempt_on_no_account_is_kept_too(
    client: httpx.AsyncClient, log_in: LogIn, log: io.StringIO, postgres: Any
) -> None:
    connection = await asyncpg.connect(postgres.owner_url)
    query = "SELECT count(*) FROM audit_events WHERE user_id IS NULL AND kind = 'login_failed'"
    before = await connection.fetchval(query)
    assert (await log_in(f"{new_id()}@example.com")).status_code == 401
    assert await connection.fetchval(query) == before + 1
    await connection.close()
    (line,) = logged(log)
    assert (line["kind"], line["user"], line["level"]) == ("login_failed", None, "warning")


async def test_nobody_sees_the_trail_of_another(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, eve = await register(), await register()
    (theirs,) = await events(client, ada.headers)
    (own,) = await events(client, eve.headers)
    assert theirs["id"] != own["id"]
    assert theirs["kind"] == own["kind"] == "registered"


async def test_pages(client: httpx.AsyncClient, account: Any, log_in: LogIn) -> None:
    for _ in range(4):
        await log_in(account.email, password="wrong password")
    first = await client.get(f"{URL}?limit=2", headers=account.headers)
    assert 'rel="next"' in first.headers["link"]
    rest = await client.get(f"{URL}?limit=9&cursor={first.json()['next_cursor']}", headers=account.headers)
    kinds = [event["kind"] for event in first.json()["items"] + rest.json()["items"]]
    assert kinds == ["login_failed"] * 4 + ["registered"]
    assert rest.json()["next_cursor"] is None


async def test_a_failure_costs_the_same_whether_there_is_an_account(
    client: httpx.AsyncClient, account: Any, log_in: LogIn, postgres: Any
) -> None:
    """Both read the account, compute one hash and write one row: counted, as times are too noisy."""
    connection = await asyncpg.connect(postgres.owner_url)
    query = "SELECT count(*) FROM audit_events WHERE kind = 'login_failed'"
    counts = [await connection.fetchval(query)]
    for email in (account.email, f"{new_id()}@example.com"):
        await log_in(email, password="wrong password")
        counts.append(await connection.fetchval(query))
    await connection.close()
    assert [counts[1] - counts[0], counts[2] - counts[1]] == [1, 1]


async def test_rows_stay_when_the_account_goes(
    client: httpx.AsyncClient, account: Any, postgres: Any
) -> None:
    user_id = UUID(account.user["id"])
    connection = await asyncpg.connect(postgres.owner_url)
    await connection.execute("DELETE FROM users WHERE id = $1", user_id)
    query = "SELECT kind, details::text FROM audit_events WHERE user_id = $1"
    rows = await connection.fetch(query, user_id)
    await connection.close()
    assert [row["kind"] for row in rows] == ["registered"]
    assert account.email not in str(rows)

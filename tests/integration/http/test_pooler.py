"""The application behind PgBouncer in transaction mode, whose connections are anybody's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import StatementTimeout
from little_monster.db.queue import connected
from little_monster.db.repositories import users
from little_monster.db.session import Database
from little_monster.platform.resources import direct_url, open_database
from little_monster.platform.settings import Settings

CONVERSATIONS = "/api/v1/chat/conversations"


@pytest.fixture
async def pooled(pooler_url: str) -> AsyncIterator[Database]:
    """Twenty connections to PgBouncer, which has two to the server."""
    database = Database(
        create_engine(pooler_url, pool_size=20, statement_timeout_ms=700, transaction_pooler=True)
    )
    yield database
    await database.close()


@pytest.fixture
async def client(
    settings: Settings,
    pooler_url: str,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    client_of: Callable[[FastAPI], httpx.AsyncClient],
) -> AsyncIterator[httpx.AsyncClient]:
    database = settings.database.model_copy(update={"url": SecretStr(pooler_url), "transaction_pooler": True})
    async with running(settings.model_copy(update={"database": database})) as app, client_of(app) as client:
        yield client


async def test_many_users_at_once(client: httpx.AsyncClient) -> None:
    async def work(number: int) -> None:
        body = {"email": f"{new_id()}@example.com", "password": "correct horse battery", "display_name": "A"}
        account = (await client.post("/api/v1/auth/register", json=body)).json()
        headers = {"Authorization": f"Bearer {account['tokens']['access_token']}"}
        for turn in range(5):
            title = f"{number} {turn}"
            made = await client.post(CONVERSATIONS, json={"title": title}, headers=headers)
            assert made.status_code == 201, made.text
            me = await client.get("/api/v1/users/me", headers=headers)
            assert me.json()["id"] == account["user"]["id"]
        listed = await client.get(CONVERSATIONS, headers=headers)
        assert {one["title"] for one in listed.json()["items"]} == {f"{number} {turn}" for turn in range(5)}

    await asyncio.gather(*(work(number) for number in range(12)))
    assert (await client.get("/readyz")).status_code == 200


async def test_notifications_are_heard_past_the_pooler(
    settings: Settings, postgres: Any, pooler_url: str
) -> None:
    assert direct_url(settings) == postgres.app_url
    update = {
        "url": SecretStr(pooler_url),
        "direct_url": SecretStr(postgres.app_url),
        "transaction_pooler": True,
    }
    behind = settings.model_copy(update={"database": settings.database.model_copy(update=update)})
    opened, heard = open_database(behind), asyncio.Event()
    async with connected(direct_url(behind)) as (driver, _):
        await driver.add_listener("heard", lambda _: heard.set())
        async with opened.session(None) as session:
            await session.execute(text("SELECT pg_notify('heard', 'hello')"))
        await asyncio.wait_for(heard.wait(), 10)
    await opened.close()


async def test_a_row_is_read_by_its_key(pooled: Database, user_id: UUID) -> None:
    found = await asyncio.gather(*(users.read(pooled, user_id, fresh=True) for _ in range(40)))
    assert {one and one.id for one in found} == {user_id}
    assert await users.read(pooled, new_id(), fresh=True) is None


@pytest.mark.parametrize("nobody", [True, False])
async def test_a_statement_has_its_time(pooled: Database, user_id: UUID, nobody: bool) -> None:
    with pytest.raises(StatementTimeout, match="57014"):
        async with pooled.session(None if nobody else user_id) as session:
            await session.execute(text("SELECT pg_sleep(5)"))


async def test_a_transaction_has_the_settings_and_leaves_none(
    pooled: Database, pooler_url: str, user_id: UUID
) -> None:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "jit", "TimeZone", "app.user_id")
    shown = "SELECT " + ", ".join(f"current_setting('{name}', true)" for name in names)
    async with pooled.session(user_id) as session:
        (found,) = await session.execute(text(shown))
    assert tuple(found) == ("700ms", "1min", "off", "UTC", str(user_id))
    other: Any = await asyncpg.connect(pooler_url, statement_cache_size=0)
    for _ in range(4):
        left = await other.fetchrow(shown)
        assert left[0] == "0"
        assert not left[4]
    await other.close()

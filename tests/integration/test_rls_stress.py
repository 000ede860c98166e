"""Many tasks on few connections, cancelled and failing at random: nobody gets a row of another."""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from little_monster.db.engine import TenantConnection, create_engine
from little_monster.db.models import User
from little_monster.db.reads import ByKey
from little_monster.db.repositories import chat_conversations
from little_monster.db.session import Database

TASKS, USERS = 200, 20
TRANSACTIONS = int(os.environ.get("LM_TEST_STRESS_TRANSACTIONS", "1000"))
"""Of all tasks together, 20,000 for a longer run."""
BY_ID = ByKey(User)
SETTING = "SELECT coalesce(current_setting('app.user_id', true), '')"


class Stress:
    """What the tasks do, and what they saw that they should not."""

    def __init__(self, url: str, user_ids: list[UUID], **options: Any) -> None:
        self.database = Database(create_engine(url, pool_timeout_s=120, **options))
        self.user_ids = user_ids
        self.begun = self.cancelled = 0
        self.left: set[str] = set()
        self.failures = [self.divide, self.forget, self.cancel]

    def look_before_each_begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note what stands in a connection as the last transaction released it."""
        execute = TenantConnection.execute

        async def look_and_execute(connection: Any, query: str, *args: Any, **options: Any) -> Any:
            if query.startswith("BEGIN"):
                self.begun += 1
                self.left.add(await connection.fetchval(SETTING))
            return await execute(connection, query, *args, **options)

        monkeypatch.setattr(TenantConnection, "execute", look_and_execute)

    async def task(self, number: int, transactions: int) -> None:
        chance = random.Random(number)
        for _ in range(transactions):
            user_id = chance.choice(self.user_ids)
            work = chance.choices([self.write, self.read, self.read_one, self.nobody, *self.failures], k=1)[0]
            await work(user_id, chance)

    async def write(self, user_id: UUID, _chance: random.Random) -> None:
        async with self.database.session(user_id) as session:
            await chat_conversations.create(session, user_id=user_id, title=str(user_id))

    async def read(self, user_id: UUID, _chance: random.Random) -> None:
        async with self.database.session(user_id) as session:
            rows = await session.execute(text(f"SELECT id, ({SETTING}) FROM users"))
            assert [tuple(row) for row in rows] == [(user_id, str(user_id))]
            titles = await session.scalars(text("SELECT title FROM chat_conversations LIMIT 20"))
            assert set(titles) <= {str(user_id)}

    async def read_one(self, user_id: UUID, chance: random.Random) -> None:
        wanted = chance.choice(self.user_ids)
        row = await self.database.read(user_id, BY_ID, wanted, fresh=True)
        assert (row and row.id) == (wanted if wanted == user_id else None)

    async def nobody(self, _user_id: UUID, _chance: random.Random) -> None:
        async with self.database.session(None) as session:
            assert await session.scalar(text(SETTING)) == ""
            assert await session.scalar(text("SELECT count(*) FROM users")) == 0

    async def divide(self, user_id: UUID, _chance: random.Random) -> None:
        with pytest.raises(DBAPIError):
            await self._write_in_vain(user_id, "SELECT 1 / 0")

    async def forget(self, user_id: UUID, _chance: random.Random) -> None:
        with pytest.raises(KeyError):
            await self._write_in_vain(user_id, "SELECT 1")

    async def _write_in_vain(self, user_id: UUID, statement: str) -> None:
        async with self.database.session(user_id) as session:
            await chat_conversations.create(session, user_id=user_id, title="lost")
            await session.execute(text(statement))
            raise KeyError

    async def cancel(self, user_id: UUID, chance: random.Random) -> None:
        """Stop a transaction at any moment: while it waits for a connection, begins, works or commits."""
        work = asyncio.create_task(chance.choice([self.write, self.read])(user_id, chance))
        await asyncio.sleep(chance.choice([0, 0.002, 0.02, 0.2]) * chance.random())
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        self.cancelled += work.cancelled()

    async def run(self) -> None:
        tasks = [self.task(number, TRANSACTIONS // TASKS) for number in range(TASKS)]
        try:
            await asyncio.gather(*tasks)
        finally:
            await self.database.close()


async def check(stress: Stress, owner_url: str) -> None:
    """Nobody was let in as another, and nothing was written for another, or by a transaction that failed."""
    assert stress.left == {""}
    assert stress.begun > TRANSACTIONS / 2
    assert stress.cancelled > TRANSACTIONS / 100
    owner = await asyncpg.connect(owner_url)
    rows = await owner.fetch(
        "SELECT user_id, title FROM chat_conversations WHERE user_id = ANY($1)", stress.user_ids
    )
    await owner.close()
    assert len(rows) > TRANSACTIONS / 10
    assert all(row["title"] == str(row["user_id"]) for row in rows)


@pytest.fixture
async def user_ids(new_user: Callable[[], Awaitable[UUID]]) -> list[UUID]:
    return [await new_user() for _ in range(USERS)]


async def test_two_connections_keep_the_tenants_apart(
    postgres: Any, user_ids: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    stress = Stress(postgres.app_url, user_ids, pool_size=2)
    stress.look_before_each_begin(monkeypatch)
    await stress.run()
    await check(stress, postgres.owner_url)


async def test_through_pgbouncer_they_are_kept_apart(
    pooler_url: str, postgres: Any, user_ids: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight connections to it are served by two of the server."""
    stress = Stress(pooler_url, user_ids, pool_size=8, transaction_pooler=True)
    stress.look_before_each_begin(monkeypatch)
    await stress.run()
    await check(stress, postgres.owner_url)

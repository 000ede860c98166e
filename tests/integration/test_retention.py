"""What has ended goes when its time is over, and nothing else does, whoever sweeps."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.repositories import refresh_tokens, retention, sessions
from little_monster.db.repositories.retention import Kind
from little_monster.db.session import Database
from little_monster.platform.services.retention import sweep
from little_monster.platform.settings import RetentionSettings

SETTINGS = RetentionSettings()
TABLES = {
    Kind.EMAIL_CODES: "email_codes",
    Kind.READ_NOTIFICATIONS: "notifications",
    Kind.UNREAD_NOTIFICATIONS: "notifications",
    Kind.PERSONAL_TOKENS: "personal_access_tokens",
    Kind.CALENDAR_FEEDS: "calendar_feeds",
    Kind.JOBS: "jobs",
}
_CODE = "(id, user_id, purpose, email, code_hash, expires_at) VALUES ($1, $2, 'verify_email', '', $3, @)"
_TOLD = "(id, user_id, dedup_key, kind, title, created_at"
_READ = f"{_TOLD}, read_at) VALUES ($1, $2, $3::bytea::text, 'test', '', '2020-01-01', @)"
_UNREAD = f"{_TOLD}) VALUES ($1, $2, $3::bytea::text, 'test', '', @)"
_FEED = "(id, user_id, token_hash, revoked_at) VALUES ($1, $2, $3, @)"
DAY = timedelta(days=1)


def _token(column: str) -> str:
    return f"(id, user_id, name, scopes, token_hash, {column}) VALUES ($1, $2, '', '{{read}}', $3, @)"


def _job(kind: str, status: str, result: str = "NULL") -> str:
    return (
        "(id, user_id, leased_by, kind, status, result, finished_at)"
        f" VALUES ($1, $2, $3::bytea::text, '{kind}', '{status}', {result}, @)"
    )


# What ends a row of each kind, with the moment in the place of @.
ENDS: dict[str, tuple[Kind, str]] = {
    "code": (Kind.EMAIL_CODES, _CODE),
    "read": (Kind.READ_NOTIFICATIONS, _READ),
    "unread": (Kind.UNREAD_NOTIFICATIONS, _UNREAD),
    "revoked token": (Kind.PERSONAL_TOKENS, _token("revoked_at")),
    "expired token": (Kind.PERSONAL_TOKENS, _token("expires_at")),
    "feed": (Kind.CALENDAR_FEEDS, _FEED),
    "done": (Kind.JOBS, _job("test", "completed", "'{}'")),
    "failed": (Kind.JOBS, _job("test", "failed")),
    "cancelled export": (Kind.JOBS, _job("export_account", "cancelled")),
    "export without its file": (Kind.JOBS, _job("export_account", "completed")),
}
LIVES: dict[str, tuple[Kind, str]] = {
    "token in use": (Kind.PERSONAL_TOKENS, _token("created_at")),
    "feed in use": (Kind.CALENDAR_FEEDS, _FEED.replace("revoked_at", "created_at")),
    "export": (Kind.JOBS, _job("export_account", "completed", "'{}'")),
    "running": (Kind.JOBS, _job("test", "running")),
    "queued": (Kind.JOBS, _job("test", "queued").replace("finished_at", "created_at")),
}


class House:
    """A database of its own, so that no other test counts here; `owner` is a superuser."""

    def __init__(self, owner: asyncpg.Connection, database: Database) -> None:
        self.owner, self.database = owner, database

    async def user(self) -> UUID:
        user_id = new_id()
        insert = "INSERT INTO users (id, email, password_hash, display_name) VALUES ($1, $2, '', '')"
        await self.owner.execute(insert, user_id, f"{user_id}@example.org")
        return user_id

    async def add(self, user: UUID, what: tuple[Kind, str], age: timedelta) -> UUID:
        row, (kind, values) = new_id(), what
        moment = f"now() - interval '{age.total_seconds()} seconds'"
        insert = f"INSERT INTO {TABLES[kind]} {values}".replace("@", moment)
        await self.owner.execute(insert, row, user, row.bytes)
        return row

    async def rows(self, table: str) -> set[UUID]:
        return {row[0] for row in await self.owner.fetch(f"SELECT id FROM {table}")}


@pytest.fixture(scope="module")
async def built(postgres: Any) -> AsyncIterator[House]:
    name = await postgres.new_database()
    await migrate.upgrade(postgres.url("postgres", name), "lm_service")
    owner = await asyncpg.connect(postgres.url("postgres", name))
    database = Database(create_engine(postgres.url("lm_service", name), pool_size=8))
    yield House(owner, database)
    await database.close()
    await owner.close()


@pytest.fixture
async def house(built: House) -> House:
    """The database with nobody in it."""
    await built.owner.execute("DELETE FROM users")
    return built


def kept(kind: Kind) -> timedelta:
    return timedelta(days=getattr(SETTINGS, f"{kind.value}_days"))


@pytest.mark.parametrize("name", ENDS)
async def test_a_row_goes_when_its_time_is_over(house: House, name: str) -> None:
    kind, values = ENDS[name]
    ada, eve = await house.user(), await house.user()
    old = {await house.add(user, (kind, values), kept(kind) + timedelta(minutes=1)) for user in (ada, eve)}
    new = {await house.add(user, (kind, values), kept(kind) - timedelta(minutes=1)) for user in (ada, eve)}
    future = await house.add(ada, (kind, values), -DAY)
    swept = await sweep(house.database, SETTINGS)
    assert swept[kind] == 2
    assert sum(swept.values()) == 2
    there = await house.rows(TABLES[kind])
    assert not old & there
    assert new | {future} <= there


@pytest.mark.parametrize("name", LIVES)
async def test_what_has_not_ended_stays_however_old(house: House, name: str) -> None:
    kind, values = LIVES[name]
    row = await house.add(await house.user(), (kind, values), timedelta(days=4000))
    assert sum((await sweep(house.database, SETTINGS)).values()) == 0
    assert row in await house.rows(TABLES[kind])


class LogIn:
    """A log-in whose tokens were made so many days ago, each used but the last, and good for 30 days."""

    def __init__(self, house: House, user: UUID, ages: tuple[float, ...]) -> None:
        self.house, self.user, self.ages, self.id = house, user, ages, new_id()
        self.hashes = [new_id().bytes * 2 for _ in ages]

    async def begin(self, revoked: float | None = None) -> "LogIn":
        run, last = self.house.owner.execute, self.ages[-1]
        await run(
            "INSERT INTO sessions (id, user_id, created_at, last_used_at, revoked_at) VALUES"
            " ($1, $2, now() - $3::interval, now() - $4::interval, now() - $5::interval)",
            self.id,
            self.user,
            timedelta(days=self.ages[0]),
            timedelta(days=last),
            None if revoked is None else timedelta(days=revoked),
        )
        for age, digest in zip(self.ages, self.hashes, strict=True):
            await run(
                "INSERT INTO refresh_tokens (id, user_id, family_id, token_hash, expires_at, used_at)"
                " VALUES ($1, $2, $3, $4, now() - $5::interval, now() - $6::interval)",
                new_id(),
                self.user,
                self.id,
                digest,
                timedelta(days=age - 30),
                timedelta(days=age) if age != last else None,
            )
        return self

    async def counts(self) -> tuple[int, int]:
        value = self.house.owner.fetchval
        return (
            await value("SELECT count(*) FROM sessions WHERE id = $1", self.id),
            await value("SELECT count(*) FROM refresh_tokens WHERE family_id = $1", self.id),
        )


async def test_log_ins_go_with_all_their_tokens_or_not_at_all(house: House) -> None:
    ada, eve = await house.user(), await house.user()
    days = SETTINGS.sessions_days
    gone = [
        await LogIn(house, ada, (200, 100, 30.1 + days)).begin(),
        await LogIn(house, eve, (30.1 + days,)).begin(),
        await LogIn(house, eve, (50, 40)).begin(revoked=days + 0.1),
    ]
    stay = [
        # Replayed, the tokens of long ago betray a thief still.
        await LogIn(house, ada, (400, 200, 1)).begin(),
        await LogIn(house, ada, (200, 100, 29.9 + days)).begin(),
        await LogIn(house, eve, (50, 40)).begin(revoked=days - 0.1),
        await LogIn(house, eve, (0,)).begin(),
    ]
    swept = await sweep(house.database, SETTINGS)
    assert swept[Kind.SESSIONS] == 3 + 1 + 2 + 3
    assert [await one.counts() for one in gone] == [(0, 0)] * 3
    assert [await one.counts() for one in stay] == [(1, 3), (1, 3), (1, 2), (1, 1)]


async def test_a_used_token_of_long_ago_still_betrays_a_thief(house: House) -> None:
    log_in = await LogIn(house, await house.user(), (400, 1)).begin()
    await sweep(house.database, SETTINGS)
    async with house.database.session(log_in.user) as session:
        assert await refresh_tokens.consume(session, log_in.hashes[0]) == "reused"


async def test_many_tokens_go_in_batches_and_the_log_in_last(house: House) -> None:
    log_in = await LogIn(house, await house.user(), tuple(range(370, 70, -1))).begin()
    async with house.database.session(None) as session:
        assert await retention.sweep(session, Kind.SESSIONS, DAY, limit=100) == 100
    assert await log_in.counts() == (1, 200)
    await sweep(house.database, SETTINGS, batch=100, max_batches=1)
    assert await log_in.counts() == (1, 100)
    assert (await sweep(house.database, SETTINGS, batch=100))[Kind.SESSIONS] == 101
    assert await log_in.counts() == (0, 0)


async def test_many_sweepers_take_each_row_once(house: House) -> None:
    user = await house.user()
    for name in ("read", "done"):
        for _ in range(150):
            await house.add(user, ENDS[name], timedelta(days=1000))
    log_ins = [await LogIn(house, user, (200, 150)).begin() for _ in range(40)]
    runs = [sweep(house.database, SETTINGS, batch=10) for _ in range(6)]
    swept = await asyncio.gather(*runs)
    last = await sweep(house.database, SETTINGS)
    total = {kind: sum(one[kind] for one in (*swept, last)) for kind in Kind}
    assert total[Kind.READ_NOTIFICATIONS] == total[Kind.JOBS] == 150
    assert total[Kind.SESSIONS] == 120
    assert {await one.counts() for one in log_ins} == {(0, 0)}


async def test_what_somebody_holds_is_left_alone_and_nobody_waits(house: House) -> None:
    user = await house.user()
    held, free = [await house.add(user, ENDS["read"], timedelta(days=1000)) for _ in range(2)]
    log_in = await LogIn(house, user, (200, 150)).begin()
    async with house.database.session(user) as session:
        await sessions.revoke(session, log_in.id)
        async with house.owner.transaction():
            await house.owner.execute("SELECT FROM notifications WHERE id = $1 FOR UPDATE", held)
            await asyncio.wait_for(sweep(house.database, SETTINGS), 10)
    there = await house.rows("notifications")
    assert held in there
    assert free not in there
    assert await log_in.counts() == (1, 2)
    # Its tokens had expired long before.
    await sweep(house.database, SETTINGS)
    assert await log_in.counts() == (0, 0)


@pytest.mark.parametrize("table", ["log", "statistics"])
async def test_the_queues_notes_go(house: House, table: str) -> None:
    name, kind = f"queue.pgqueuer_{table}", Kind(f"queue_{table}")
    more = "job_id" if table == "log" else "count"
    ids = []
    for number, age in enumerate((kept(kind) + DAY, kept(kind) - DAY)):
        moment = await house.owner.fetchval("SELECT now() - $1::interval", age)
        columns = f"(created, status, priority, entrypoint, {more})"
        insert = f"INSERT INTO {name} {columns} VALUES ($1, 'queued', 0, $2, 1) RETURNING id"
        ids.append(await house.owner.fetchval(insert, moment, str(number)))
    assert (await sweep(house.database, SETTINGS))[kind] == 1
    assert await house.rows(name) == {ids[1]}


@pytest.mark.parametrize("kind", [*TABLES, Kind.SESSIONS])
async def test_only_a_worker_sweeps(house: House, kind: Kind) -> None:
    async with house.database.session(await house.user()) as session:
        with pytest.raises(DBAPIError, match="only a worker sweeps"):
            await retention.sweep(session, kind, DAY, limit=1)
        await session.rollback()


@pytest.mark.parametrize("kind", [*TABLES, Kind.SESSIONS])
async def test_what_has_just_ended_stays_whatever_a_worker_asks(house: House, kind: Kind) -> None:
    user = await house.user()
    for values in ENDS.values():
        await house.add(user, values, timedelta(minutes=50))
    await LogIn(house, user, (5, 1)).begin(revoked=0.01)
    async with house.database.session(None) as session:
        assert await retention.sweep(session, kind, timedelta(days=-100), limit=100) == 0


async def test_the_sweeps_use_indexes(house: House) -> None:
    """What they look for stands in front, however much there is."""
    conditions = {
        "SELECT FROM sessions WHERE last_used_at < now()": "sessions_last_used_idx",
        "SELECT FROM email_codes WHERE expires_at < now()": "email_codes_expires_idx",
        "SELECT FROM notifications WHERE read_at < now()": "notifications_read_idx",
        "SELECT FROM jobs WHERE finished_at < now()": "jobs_finished_idx",
    }
    async with house.owner.transaction():
        await house.owner.execute("SET LOCAL enable_seqscan = off; SET LOCAL ROLE lm_system")
        for query, index in conditions.items():
            plan = "\n".join(row[0] for row in await house.owner.fetch(f"EXPLAIN {query}"))
            assert index in plan, plan

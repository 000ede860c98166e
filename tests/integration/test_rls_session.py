"""The user of a transaction is set in the round trip that begins it, and nothing of it is left at release."""

import asyncio
import random
import tempfile
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import CommitUnknown, DatabaseUnavailable, UnsafeRole
from little_monster.db.models import User
from little_monster.db.session import Database

SETTING = text("SELECT current_setting('app.user_id', true)")


@pytest.fixture
async def single(postgres):
    """A database with one connection, so that each session gets the one that the last session had."""
    database = Database(create_engine(postgres.app_url, pool_size=1, pool_timeout_s=5))
    yield database
    await database.close()


async def setting(database: Database, user_id: UUID | None) -> str:
    async with database.session(user_id) as session:
        return await session.scalar(SETTING) or ""


async def test_the_setting_is_the_sessions_user(single):
    first, second = new_id(), new_id()
    assert await setting(single, first) == str(first)
    assert await setting(single, second) == str(second)


async def test_nothing_is_left_after_a_commit(single):
    await setting(single, new_id())
    assert await setting(single, None) == ""


async def test_nothing_is_left_after_an_error_of_the_caller(single):
    async def fail() -> None:
        async with single.session(new_id()) as session:
            await session.execute(SETTING)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await setting(single, None) == ""


async def test_a_connection_that_breaks_at_the_end_leaves_it_open(single, database):
    """Whether the commit came through is not known then; before it, nothing was."""
    with pytest.raises(CommitUnknown):
        async with single.session(new_id()) as session:
            await _end(database, await session.scalar(text("SELECT pg_backend_pid()")))
    with pytest.raises(DatabaseUnavailable) as caught:
        await _break_off(single, database)
    assert not isinstance(caught.value, CommitUnknown)


async def _break_off(single: Database, database: Database) -> None:
    async with single.session(new_id()) as session:
        await _end(database, await session.scalar(text("SELECT pg_backend_pid()")))
        await session.execute(SETTING)


async def _end(database: Database, backend: int) -> None:
    async with database.session(None) as session:
        assert await session.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})


async def test_nothing_is_left_after_an_error_of_the_database(single):
    with pytest.raises(DBAPIError):
        async with single.session(new_id()) as session:
            await session.execute(text("SELECT 1 / 0"))
    assert await setting(single, None) == ""


async def test_nothing_is_left_when_the_session_was_not_used(single):
    async with single.session(new_id()):
        pass
    assert await setting(single, None) == ""


async def test_nothing_is_left_after_a_cancelled_statement(single):
    async def sleep() -> None:
        async with single.session(new_id()) as session:
            await session.execute(text("SELECT pg_sleep(30)"))

    task = asyncio.create_task(sleep())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await setting(single, None) == ""


async def test_nothing_is_left_whenever_it_is_cancelled(single):
    """Cancelled at any moment, in BEGIN, in the statement, in COMMIT: the next session is its own user."""

    async def work() -> None:
        async with single.session(new_id()) as session:
            await session.execute(SETTING)
            await session.execute(SETTING)

    generator = random.Random(7)
    for _ in range(150):
        task = asyncio.create_task(work())
        await asyncio.sleep(generator.random() * 0.004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        user = generator.choice([new_id(), None])
        assert await setting(single, user) == (str(user) if user else "")


async def test_a_connection_that_comes_back_in_a_transaction_is_dropped(postgres):
    engine = create_engine(postgres.app_url, pool_size=1)
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"BEGIN; SET LOCAL app.user_id = '{new_id()}'")
    assert await setting(Database(engine), None) == ""
    await engine.dispose()


async def test_a_savepoint_keeps_the_user(single):
    user = new_id()
    async with single.session(user) as session:
        with pytest.raises(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("SELECT 1 / 0"))
        assert await session.scalar(SETTING) == str(user)


async def test_an_error_rolls_everything_back(single):
    user = new_id()

    async def fail() -> None:
        async with single.session(user) as session:
            session.add(User(id=user, email=f"{user}@x", password_hash="", display_name=""))
            await session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with single.session(user) as session:
        assert await session.get(User, user) is None


async def test_only_an_id_can_be_a_user(single):
    with pytest.raises(ValueError, match="badly formed"):
        async with single.session("x'; DROP TABLE users; --"):
            pass


async def test_no_free_connection_is_unavailable(postgres):
    database = Database(create_engine(postgres.app_url, pool_size=1, pool_timeout_s=0.2))
    async with database.session(None) as session:
        await session.execute(SETTING)
        with pytest.raises(DatabaseUnavailable, match="no free connection"):
            await database.check()
    await database.close()


async def test_no_server_is_unavailable(tmp_path):
    database = Database(create_engine(f"postgresql://nobody@/nothing?host={tmp_path}"))
    with pytest.raises(DatabaseUnavailable, match="no connection"):
        await database.check()
    await database.close()


async def test_a_statement_that_takes_too_long_is_unavailable(postgres):
    database = Database(create_engine(postgres.app_url, pool_size=1, statement_timeout_ms=50))
    with pytest.raises(DatabaseUnavailable):
        async with database.session(None) as session:
            await session.execute(text("SELECT pg_sleep(5)"))
    await database.check()
    await database.close()


async def test_a_connection_that_the_server_closed_is_replaced(single, postgres):
    async with single.session(None) as session:
        process = await session.scalar(text("SELECT pg_backend_pid()"))
    owner = Database(create_engine(postgres.owner_url, pool_size=1))
    async with owner.session(None) as session:
        await session.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
    await asyncio.sleep(0.1)
    await single.check()
    await owner.close()


async def test_the_services_role_is_safe_and_the_owner_is_not(database, postgres):
    await database.check_role()
    owner = Database(create_engine(postgres.owner_url, pool_size=1))
    with pytest.raises(UnsafeRole, match="superuser"):
        await owner.check_role()
    await owner.close()


async def test_a_role_that_is_not_admitted_is_unsafe(postgres):
    owner = Database(create_engine(postgres.owner_url, pool_size=1))
    async with owner.session(None) as session:
        await session.execute(text("CREATE ROLE lm_stranger LOGIN"))
        await session.execute(text("CREATE ROLE lm_bypasser LOGIN BYPASSRLS"))
    for role, why in (("lm_stranger", "not a member of lm_app"), ("lm_bypasser", "bypasses")):
        database = Database(create_engine(postgres.url(role, "little_monster"), pool_size=1))
        with pytest.raises(UnsafeRole, match=why):
            await database.check_role()
        await database.close()
    await owner.close()


class RoundTrips:
    """A proxy before the server that counts how often it said it is ready for the next query."""

    def __init__(self, server: Path) -> None:
        self.server, self.count = server, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(str(self.server))
        forward = asyncio.create_task(self.forward(reader, to_server))
        try:
            while True:
                head = await from_server.readexactly(5)
                if len(head) == 5 and head[0:1] == b"Z":
                    self.count += 1
                writer.write(head + await from_server.readexactly(int.from_bytes(head[1:], "big") - 4))
        except asyncio.IncompleteReadError:
            pass
        finally:
            forward.cancel()
            to_server.close()
            writer.close()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


async def test_beginning_and_naming_the_user_is_one_round_trip(postgres):
    """A transaction of one statement takes three round trips: BEGIN with the user, the statement, COMMIT."""
    socket = Path(postgres.folder) / ".s.PGSQL.5432"
    trips = RoundTrips(socket)
    with tempfile.TemporaryDirectory(prefix="lm-proxy-") as folder:
        proxy = await asyncio.start_unix_server(trips, f"{folder}/{socket.name}")
        url = postgres.app_url.replace(str(postgres.folder), folder) + "&sslmode=disable"
        database = Database(create_engine(url, pool_size=1))
        user = new_id()
        await setting(database, user)
        before = trips.count
        assert await setting(database, user) == str(user)
        assert trips.count - before == 3
        await database.close()
        proxy.close()

"""Reading one row by its key: as a session would, as its user, and with nothing left on the connection."""

import asyncio
import random

import pytest
from sqlalchemy import inspect, text

from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models import Job, User, UserDocument
from little_monster.db.models.user_documents import FileType
from little_monster.db.reads import ByKey
from little_monster.db.repositories import jobs, user_documents, users
from little_monster.db.session import Database

SETTING = text("SELECT current_setting('app.user_id', true)")
USERS = ByKey(User)


@pytest.fixture(params=[1, 2], ids=["taken from the pool", "kept for reading"])
async def small(postgres, request):
    database = Database(create_engine(postgres.app_url, pool_size=request.param, pool_timeout_s=5))
    yield database
    await database.close()


async def setting(database: Database) -> str:
    async with database.session(None) as session:
        return await session.scalar(SETTING) or ""


def values(row):
    return {one.key: getattr(row, one.key) for one in inspect(type(row)).column_attrs}


async def test_it_is_the_row_that_a_session_loads(database, user_id):
    document_id = new_id()
    async with database.session(user_id) as session:
        await user_documents.create(
            session,
            document_id=document_id,
            user_id=user_id,
            title="Zellen",
            file_type=FileType.PDF,
            file_url="a/b",
            file_size=2**40,
            content_hash="0" * 64,
            metadata={"pages": [1, {"two": None}]},
        )
        job = await jobs.create(session, user_id=user_id, kind="test", subject_id=document_id)
    for model, key in ((User, user_id), (UserDocument, document_id), (Job, job.id)):
        async with database.session(user_id) as session:
            loaded = values(await session.get(model, key))
        read = values(await database.read(user_id, ByKey(model), key, fresh=True))
        assert read == loaded
        assert {name: type(value) for name, value in read.items()} == {
            name: type(value) for name, value in loaded.items()
        }


async def test_nobody_and_others_see_nothing(database, new_user):
    mine, theirs = await new_user(), await new_user()
    assert await users.read(database, mine, fresh=True) is not None
    assert await database.read(theirs, USERS, mine, fresh=True) is None
    assert await database.read(None, USERS, mine, fresh=True) is None
    assert await users.read(database, new_id(), fresh=True) is None


async def test_users_take_turns_on_one_connection(small, new_user):
    people = [await new_user() for _ in range(3)]

    async def read(reader, key):
        row = await small.read(reader, USERS, key, fresh=True)
        assert (row is not None) == (reader == key)

    await asyncio.gather(*(read(reader, key) for _ in range(20) for reader in people for key in people))
    assert await setting(small) == ""


async def test_nothing_is_left_whenever_it_is_cancelled(small, user_id):
    generator = random.Random(7)
    for _ in range(150):
        task = asyncio.create_task(users.read(small, user_id, fresh=True))
        await asyncio.sleep(generator.random() * 0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await small.read(None, USERS, user_id, fresh=True) is None
        assert await setting(small) == ""
    assert await users.read(small, user_id, fresh=True) is not None


async def test_reading_changes_nothing(small, user_id):
    query = ByKey(User)
    query.sql = "UPDATE users SET display_name = 'x' WHERE id = $1 RETURNING *"
    with pytest.raises(Exception, match="read-only transaction"):
        await small.read(user_id, query, user_id, fresh=True)
    assert (await users.read(small, user_id, fresh=True)).display_name == "Test"


async def test_a_read_that_takes_too_long_is_unavailable(postgres, user_id):
    owner = Database(create_engine(postgres.owner_url, pool_size=1))
    database = Database(create_engine(postgres.app_url, pool_size=2, statement_timeout_ms=500))
    assert await users.read(database, user_id, fresh=True) is not None
    async with owner.session(None) as session:
        await session.execute(text("LOCK TABLE users"))
        with pytest.raises(DatabaseUnavailable, match="57014"):
            await users.read(database, user_id, fresh=True)
    assert await users.read(database, user_id, fresh=True) is not None
    await database.close()
    await owner.close()


async def test_no_free_connection_is_unavailable(postgres, user_id):
    database = Database(create_engine(postgres.app_url, pool_size=1, pool_timeout_s=0.2))
    async with database.session(None) as session:
        await session.execute(SETTING)
        with pytest.raises(DatabaseUnavailable, match="no free connection"):
            await users.read(database, user_id, fresh=True)
    await database.close()


async def test_no_server_is_unavailable(tmp_path):
    database = Database(create_engine(f"postgresql://nobody@/nothing?host={tmp_path}"))
    with pytest.raises(DatabaseUnavailable, match="no connection"):
        await users.read(database, new_id(), fresh=True)
    await database.close()


async def test_sessions_find_connections_beside_those_kept_for_reading(postgres, user_id):
    database = Database(create_engine(postgres.app_url, pool_size=2, pool_timeout_s=1))
    await asyncio.gather(*(users.read(database, user_id, fresh=True) for _ in range(10)))
    await asyncio.gather(*(setting(database) for _ in range(10)))
    await database.close()


async def test_a_connection_that_the_server_closed_is_replaced(small, postgres, user_id):
    await users.read(small, user_id, fresh=True)
    owner = Database(create_engine(postgres.owner_url, pool_size=1))
    async with owner.session(None) as session:
        await session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lm_service'")
        )
    await asyncio.sleep(0.1)
    assert await users.read(small, user_id, fresh=True) is not None
    await owner.close()

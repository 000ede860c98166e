"""The audit trail beyond what `test_rls.py` tries: what belongs to nobody, and what outlives an account."""

from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import new_id
from little_monster.db.repositories import audit_events
from little_monster.db.session import Database

_INSERT = "INSERT INTO audit_events (id, user_id, kind) VALUES ($1, $2, 'test')"


@pytest.fixture
async def app(postgres):
    connection = await asyncpg.connect(postgres.app_url)
    yield connection
    await connection.close()


@pytest.fixture
async def event_id(app, user_id) -> UUID:
    made = new_id()
    await run(app, user_id, _INSERT, made, user_id)
    return made


async def run(app: asyncpg.Connection, who: UUID | None, statement: str, *values: object) -> str:
    async with app.transaction():
        if who is not None:
            await app.execute(f"SET LOCAL app.user_id = '{who}'")
        return await app.execute(statement, *values)


async def test_nobody_empties_the_trail(app, user_id):
    for user in (user_id, None):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(app, user, "TRUNCATE audit_events")


async def test_only_nobody_adds_what_belongs_to_nobody(app, user_id):
    assert await run(app, None, _INSERT, new_id(), None) == "INSERT 0 1"
    assert await run(app, None, "SELECT FROM audit_events") == "SELECT 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await run(app, user_id, _INSERT, new_id(), None)


async def test_the_trail_outlives_the_account(app, postgres, user_id, event_id):
    assert await run(app, user_id, "DELETE FROM users WHERE id = $1", user_id) == "DELETE 1"
    owner = await asyncpg.connect(postgres.owner_url)
    assert await owner.fetchval("SELECT user_id FROM audit_events WHERE id = $1", event_id) == user_id
    await owner.close()


async def test_the_repository_reads_the_newest_first_in_pages(database: Database, user_id):
    for kind in ("first", "second", "third"):
        async with database.session(user_id) as session:
            await audit_events.add(
                session,
                kind=kind,
                user_id=user_id,
                actor_id=None,
                address_prefix="192.0.2.0/24",
                details={"count": 3},
            )
    async with database.session(user_id) as session:
        page = await audit_events.list(session, limit=2)
        rest = await audit_events.list(session, limit=2, after=audit_events.key(page[-1]))
    assert [row.kind for row in (*page, *rest)] == ["third", "second", "first"]
    assert (page[0].details, page[0].address_prefix, page[0].actor_id) == (
        {"count": 3},
        "192.0.2.0/24",
        None,
    )

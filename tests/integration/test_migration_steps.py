"""Each migration, forward and back, on a database with rows in every table: what was there stays so."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from little_monster.db import migrate
from little_monster.db.base import new_id
from tests.fixtures import tenants

APP_ROLE = "lm_service"
REVISIONS = [script.revision for script in ScriptDirectory.from_config(migrate._config()).walk_revisions()][
    ::-1
]
STEPS = [*pairwise(REVISIONS)]
INSERTS = {
    **tenants.INSERTS,
    # Nobody's rows.
    "ended_identities": "(digest, barred) SELECT uuid_send($2::uuid), true FROM users WHERE id = $1",
    "index_outbox": "(kind, user_id, document_id) VALUES ('delete_document', $1, $2)",
    "embedding_collections": "(name, state, model, source, dimension, max_tokens)"
    " SELECT $2::uuid::text, CASE count(e) WHEN 0 THEN 'live' ELSE 'previous' END, '', '', 1, 1"
    " FROM users u LEFT JOIN embedding_collections e ON true WHERE u.id = $1 GROUP BY u.id",
}
PARENTS = {
    "document_chunks": "user_documents",
    "pending_chunks": "user_documents",
    "chat_messages": "chat_conversations",
    "comments": "videos",
    "ratings": "videos",
}
# What stands in the queue from 0009 on.
MOVED = {("jobs", "run_after"), ("jobs", "leased_until")}
Rows = dict[str, list[dict[str, Any]]]

EXPORT = "INSERT INTO jobs (id, user_id, kind, status, result) VALUES ($1, $2, 'export_account', $3, $4)"


async def tables(connection: asyncpg.Connection) -> list[str]:
    found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return [row["tablename"] for row in found if row["tablename"] != "alembic_version"]


async def fill(connection: asyncpg.Connection) -> None:
    """Make a row in every table that there is, which is not as a new one, and one that is."""
    there = await tables(connection)
    assert set(there) <= set(INSERTS)
    for _ in range(2):
        user, rows = new_id(), dict[str, UUID]()
        for table, statement in INSERTS.items():
            if table in there:
                rows[table] = new_id()
                parents = [rows[PARENTS[table]]] if table in PARENTS else []
                values = [user] if table == "users" else [user, rows[table], *parents]
                await connection.execute(f"INSERT INTO {table} {statement}", *values)
    if "videos" in there:
        verdict = ", moderation_status = 'approved'" if await has_verdicts(connection) else ""
        await connection.execute(
            f"UPDATE videos SET status = 'public'{verdict} WHERE id = $1", rows["videos"]
        )
    for table in set(there) & {"users", "videos", "jobs"}:
        # Long ago, so that who touches the row is seen.
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(f"UPDATE {table} SET updated_at = '2020-01-01Z'")


async def has_verdicts(connection: asyncpg.Connection) -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_attribute"
        " WHERE attrelid = 'videos'::regclass AND attname = 'moderation_status')"
    )
    return found


async def rows(connection: asyncpg.Connection) -> Rows:
    return {
        table: [dict(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY 1")]
        for table in await tables(connection)
    }


def shared(now: Rows, before: Rows) -> Rows:
    """Return of the tables and columns of `before` what there is now."""
    return {
        table: [
            {name: row.get(name, was[name] if (table, name) in MOVED else "lost") for name in was}
            for row, was in zip(now.get(table, []), found, strict=True)
        ]
        for table, found in before.items()
    }


@pytest.mark.parametrize(("older", "newer"), STEPS)
async def test_forward_and_back_loses_nothing(owned_database, older, newer):
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision=older)
    connection = await asyncpg.connect(admin_url)
    await fill(connection)
    before = await rows(connection)
    assert all(len(found) == 2 for found in before.values())
    for _ in range(2):
        await migrate.upgrade(owner_url, APP_ROLE, revision=newer)
        assert shared(await rows(connection), before) == before
        await migrate.downgrade(owner_url, older)
        assert await rows(connection) == before
    await connection.close()


@pytest.mark.parametrize(("older", "newer"), STEPS)
async def test_back_and_forward_loses_only_what_the_step_made(owned_database, older, newer):
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision=older)
    connection = await asyncpg.connect(admin_url)
    older_tables = await tables(connection)
    await migrate.upgrade(owner_url, APP_ROLE, revision=newer)
    await fill(connection)
    before = await rows(connection)
    await migrate.downgrade(owner_url, older)
    after = await rows(connection)
    assert set(after) == set(older_tables)
    assert after == shared({table: before[table] for table in older_tables}, after)
    await migrate.upgrade(owner_url, APP_ROLE, revision=newer)
    assert shared(await rows(connection), after) == after
    await connection.close()


async def test_from_the_first_to_the_last_and_back_with_rows_of_the_first(owned_database):
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision=REVISIONS[0])
    connection = await asyncpg.connect(admin_url)
    await fill(connection)
    before = await rows(connection)
    await migrate.upgrade(owner_url, APP_ROLE)
    assert await migrate.current_revision(owner_url) == migrate.head_revision()
    assert shared(await rows(connection), before) == before
    await migrate.downgrade(owner_url, REVISIONS[0])
    assert await rows(connection) == before
    await connection.close()


async def test_what_was_public_stays_so_and_exports_end(owned_database):
    """0008 on a database that is in use."""
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision="0005")
    connection = await asyncpg.connect(admin_url)
    await fill(connection)
    user = await connection.fetchval("SELECT id FROM users LIMIT 1")
    waiting, later, done = new_id(), new_id(), new_id()
    for job, status, result in (
        (waiting, "queued", None),
        (later, "running", None),
        (done, "completed", "{}"),
    ):
        await connection.execute(EXPORT, job, user, status, result)
    await migrate.upgrade(owner_url, APP_ROLE, revision="0008")
    videos = await connection.fetch("SELECT status, moderation_status FROM videos ORDER BY id")
    assert [tuple(row) for row in videos] == [("draft", None), ("public", "approved")]
    jobs = {row["id"]: row for row in await connection.fetch("SELECT * FROM jobs")}
    assert [jobs[job]["status"] for job in (waiting, later, done)] == ["queued", "cancelled", "completed"]
    kept = jobs[done]["expires_at"] - await connection.fetchval("SELECT now()")
    assert 6 < kept.total_seconds() / 86_400 <= 7
    assert {row["expires_at"] for row in jobs.values() if row["id"] != done} == {None}
    with pytest.raises(asyncpg.UniqueViolationError, match="jobs_one_export_idx"):
        await connection.execute(EXPORT, new_id(), user, "queued", None)
    forced = "SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relname IN ('videos', 'jobs')"
    assert await connection.fetchval(forced) is True
    enabled = "SELECT bool_and(tgenabled = 'O') FROM pg_trigger WHERE NOT tgisinternal"
    assert await connection.fetchval(enabled) is True
    await connection.close()


async def test_a_file_of_a_new_type_goes_back_as_text(owned_database):
    """0014 on a database that is in use."""
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision="0014")
    connection = await asyncpg.connect(admin_url)
    await fill(connection)
    kinds = ["epub", "pdf"]
    for kind, document in zip(
        kinds, await connection.fetch("SELECT id FROM user_documents ORDER BY id"), strict=True
    ):
        await connection.execute(
            f"UPDATE user_documents SET file_type = '{kind}' WHERE id = $1", document["id"]
        )
    await migrate.downgrade(owner_url, "0013")
    found = await connection.fetch("SELECT file_type::text FROM user_documents ORDER BY id")
    assert [row["file_type"] for row in found] == ["txt", "pdf"]
    await migrate.upgrade(owner_url, APP_ROLE, revision="0014")
    assert "epub" in await connection.fetchval("SELECT enum_range(NULL::file_type)::text")
    await connection.close()


async def test_alembic_finds_nothing_to_change(owned_database):
    owner_url, _ = owned_database
    await migrate.upgrade(owner_url, APP_ROLE)
    await check(owner_url)


async def test_alembic_would_find_a_change(owned_database):
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE)
    connection = await asyncpg.connect(admin_url)
    await connection.execute("ALTER TABLE videos ADD COLUMN forgotten int")
    await connection.close()
    with pytest.raises(Exception, match="forgotten"):
        await check(owner_url)


async def check(owner_url: str) -> None:
    """Do what `alembic check` does.

    Raises:
        AutogenerateDiffsDetected: the models say something else than the database.
    """
    config = migrate._config()
    async with migrate.owner_connection(owner_url) as connection:
        await connection.execute(text("SELECT 1"))

        def run(sync: Any) -> None:
            config.attributes["connection"] = sync
            command.check(config)

        await connection.run_sync(run)

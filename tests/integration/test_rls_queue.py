"""PgQueuer's tables: every command as who made an entry, others, staff, and nobody, as whom workers come."""

import asyncpg
import pytest

from little_monster.db.policies.queue import TABLES
from tests.fixtures.tenants import WHO, open_tenants

WORKER = "nobody"
ENTRY = (
    "INSERT INTO queue.pgqueuer (priority, status, entrypoint, headers)"
    " VALUES (0, 'queued', 'rls', jsonb_build_object('owner', $1::text)) RETURNING id"
)
NOTE = "INSERT INTO queue.pgqueuer_log (job_id, status, priority, entrypoint) VALUES (1, 'queued', 0, 'rls')"
INSERTS = {
    "pgqueuer_log": NOTE,
    "pgqueuer_schedules": "INSERT INTO queue.pgqueuer_schedules (expression, entrypoint)"
    " VALUES ('rls', 'rls')",
    "pgqueuer_statistics": "INSERT INTO queue.pgqueuer_statistics (count, priority, status, entrypoint)"
    " VALUES (1, 0, 'queued', 'rls')",
}
COMMANDS = {
    "SELECT": "SELECT FROM queue.{} WHERE entrypoint = 'rls'",
    "UPDATE": "UPDATE queue.{} SET entrypoint = entrypoint WHERE entrypoint = 'rls'",
    "DELETE": "DELETE FROM queue.{} WHERE entrypoint = 'rls'",
}


@pytest.fixture(scope="module")
async def tenants(postgres):
    async with open_tenants(postgres) as tenants:
        await tenants.superuser.execute(ENTRY, str(tenants.users["owner"]))
        for statement in INSERTS.values():
            await tenants.superuser.execute(statement)
        yield tenants
        for table in TABLES:
            await tenants.superuser.execute(COMMANDS["DELETE"].format(table))


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("table", TABLES)
async def test_only_a_worker_and_who_made_an_entry_touch_it(tenants, table, command, who):
    sees = who == WORKER or (table == "pgqueuer" and who == "owner")
    assert await tenants.run(who, COMMANDS[command].format(table)) == f"{command} {int(sees)}"


@pytest.mark.parametrize("who", WHO)
async def test_an_entry_is_made_for_oneself(tenants, who):
    async def make() -> object:
        async with tenants.acting(who) as connection:
            return await connection.fetchval(ENTRY, str(tenants.users["owner"]))

    if who in (WORKER, "owner"):
        assert await make()
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await make()


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("table", INSERTS)
async def test_who_writes_besides(tenants, table, who):
    """What is noted of an entry, everybody writes who makes or cancels one, and only workers read."""
    if who == WORKER or table == "pgqueuer_log":
        statement = (
            INSERTS[table].replace("'rls', 'rls'", "'rls', 'other'").replace("VALUES (1, 0,", "VALUES (1, 9,")
        )
        assert await tenants.run(who, statement) == "INSERT 0 1"
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await tenants.run(who, INSERTS[table])


@pytest.mark.parametrize("table", TABLES)
async def test_no_service_empties_a_table(tenants, table):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await tenants.run(WORKER, f"TRUNCATE queue.{table}")

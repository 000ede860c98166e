"""What is noted for index and storage, and what may be seen of all users to compare: every command as a user,
as staff, and as nobody, as whom workers come."""

import asyncpg
import pytest

from little_monster.db.policies.outbox import COLLECTIONS, FUNCTIONS, OUTBOX
from tests.fixtures.tenants import WHO, open_tenants

WORKER = "nobody"
INSERTS = {
    OUTBOX: f"INSERT INTO {OUTBOX} (kind, user_id) VALUES ('delete_owner', gen_random_uuid())",
    COLLECTIONS: f"INSERT INTO {COLLECTIONS} (name, state, model, source, dimension, max_tokens)"
    " VALUES ('rls', 'previous', '', '', 1, 1)",
}
COMMANDS = {
    "SELECT": "SELECT FROM {}",
    "UPDATE": "UPDATE {} SET created_at = created_at",
    "DELETE": "DELETE FROM {}",
}
LOOKS = {
    "scan_chunks": "SELECT FROM library.scan_chunks(NULL, 10)",
    "scan_documents": "SELECT FROM library.scan_documents(NULL, 10)",
    "states": "SELECT FROM library.states('{}')",
    "known": "SELECT FROM library.known('{}')",
    "totals": "SELECT FROM library.totals()",
}


@pytest.fixture(scope="module")
async def tenants(postgres):
    async with open_tenants(postgres) as tenants:
        for table in INSERTS:
            await tenants.superuser.execute(f"DELETE FROM {table}")
        for statement in INSERTS.values():
            await tenants.superuser.execute(statement)
        yield tenants
        for table in INSERTS:
            await tenants.superuser.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("table", INSERTS)
async def test_only_a_worker_touches_them(tenants, table, command, who):
    seen = int(who == WORKER)
    assert await tenants.run(who, COMMANDS[command].format(table)) == f"{command} {seen}"


@pytest.mark.parametrize("who", [who for who in WHO if who != WORKER])
@pytest.mark.parametrize("table", INSERTS)
async def test_no_user_writes_them(tenants, table, who):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await tenants.run(who, INSERTS[table].replace("previous", "building"))


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("look", LOOKS)
async def test_only_a_worker_looks_at_what_all_have(tenants, look, who):
    if who == WORKER:
        assert (await tenants.run(who, LOOKS[look])).startswith("SELECT")
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only a worker looks"):
            await tenants.run(who, LOOKS[look])


def test_every_look_is_tried():
    looks = {name for name in FUNCTIONS if ".note_" not in name}
    assert {f"library.{name}" for name in LOOKS} == {name.partition("(")[0] for name in looks}


async def test_the_notes_cannot_be_called(tenants):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenants.run(WORKER, "SELECT library.note_gone_documents()")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenants.run(WORKER, f"TRUNCATE {OUTBOX}")


async def test_a_deletion_by_its_owner_is_noted(tenants):
    """Although the owner may not write the note."""
    async with tenants.acting("owner") as connection:
        await connection.execute("DELETE FROM user_documents WHERE id = $1", tenants.rows["user_documents"])
        await connection.execute("SET LOCAL app.user_id = ''")
        noted = await connection.fetchrow(f"SELECT * FROM {OUTBOX} WHERE kind = 'delete_document'")
    assert (noted["user_id"], noted["document_id"]) == (
        tenants.users["owner"],
        tenants.rows["user_documents"],
    )

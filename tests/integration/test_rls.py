"""Every table, every command, as the owner of a row, as somebody else, and as nobody."""

from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import Base, new_id
from little_monster.db.policies import (
    administration,
    content,
    definers,
    identity,
    library,
    planner,
    queue,
    retention,
    tenancy,
)

TENANT_TABLES = (*tenancy.TENANT_TABLES, *identity.TENANT_TABLES, *planner.TABLES)
TABLES = ("users", *TENANT_TABLES)
WHO = ("owner", "other", "nobody")
# Tables with files of their own, where more than an owner and others is tried, and what crosses users.
OTHER_TABLES = (*content.TABLES, identity.AUDIT_TABLE)
FUNCTIONS = (
    *definers.FUNCTIONS,
    *content.FUNCTIONS,
    *identity.FUNCTIONS,
    *planner.FUNCTIONS,
    *administration.FUNCTIONS,
    *queue.FUNCTIONS,
    *retention.FUNCTIONS,
    *library.FUNCTIONS,
)

_INSERTS = {
    "users": "(id, email, password_hash, display_name) VALUES ($1::uuid, $1::uuid::text, '', '')",
    "refresh_tokens": "(id, user_id, family_id, token_hash, expires_at)"
    " VALUES ($2::uuid, $1, $2::uuid, uuid_send($2::uuid), now())",
    "user_documents": "(id, user_id, title, file_type, file_url, file_size, content_hash)"
    " VALUES ($2, $1, '', 'pdf', '', 1, '')",
    "document_chunks": "(id, user_id, document_id, chunk_index, content, content_hash, token_count,"
    " start_offset, end_offset) VALUES ($2, $1, $3, random(1, 1000000), '', '', 1, 0, 1)",
    "chat_conversations": "(id, user_id, title) VALUES ($2, $1, '')",
    "chat_messages": "(id, user_id, conversation_id, role, content) VALUES ($2, $1, $3, 'user', '')",
    "jobs": "(id, user_id, kind) VALUES ($2, $1, 'test')",
    "sessions": "(id, user_id) VALUES ($2, $1)",
    "email_codes": "(id, user_id, purpose, email, code_hash, expires_at)"
    " VALUES ($2::uuid, $1, 'verify_email', '', uuid_send($2::uuid), now())",
    "personal_access_tokens": "(id, user_id, name, scopes, token_hash)"
    " VALUES ($2::uuid, $1, '', '{read}', uuid_send($2::uuid))",
    # There is one a user.
    "totp_credentials": "(id, user_id, secret) VALUES ($2, $1, '')"
    " ON CONFLICT (user_id) DO UPDATE SET secret = ''",
    "recovery_codes": "(id, user_id, code_hash) VALUES ($2::uuid, $1, uuid_send($2::uuid))",
    "planner_events": "(id, user_id, title, start_date, end_date, uid)"
    " VALUES ($2::uuid, $1, '', now(), now(), $2::uuid::text)",
    "notifications": "(id, user_id, kind, title) VALUES ($2, $1, 'test', '')",
    "calendar_feeds": "(id, user_id, token_hash) VALUES ($2::uuid, $1, uuid_send($2::uuid))",
}
_PARENTS = {"document_chunks": "user_documents", "chat_messages": "chat_conversations"}
_CHANGES = dict.fromkeys(TENANT_TABLES, "user_id = user_id") | {"users": "display_name = 'changed'"}


class Tenants:
    """Two users, one of whom owns a row in every table; `run` tries a statement and leaves nothing behind."""

    def __init__(self, app: asyncpg.Connection) -> None:
        self.app = app
        self.users: dict[str, UUID | None] = {"owner": new_id(), "other": new_id(), "nobody": None}
        self.rows = {table: new_id() for table in TENANT_TABLES}
        self.rows["users"] = self.users["owner"]

    async def fill(self) -> None:
        async with self.app.transaction():
            await self.become("other")
            await self.insert("users", self.users["other"], self.users["other"])
        async with self.app.transaction():
            await self.become("owner")
            for table in TABLES:
                await self.insert(table, self.users["owner"], self.rows[table])

    async def become(self, who: str) -> None:
        user = self.users[who]
        if user is not None:
            await self.app.execute(f"SET LOCAL app.user_id = '{user}'")

    async def insert(self, table: str, user: UUID, row: UUID) -> str:
        parent = self.rows.get(_PARENTS.get(table, ""))
        values = [user] if table == "users" else [user, row, parent] if parent else [user, row]
        return await self.app.execute(f"INSERT INTO {table} {_INSERTS[table]}", *values)

    async def run(self, who: str, statement: str, *values: object) -> str:
        transaction = self.app.transaction()
        await transaction.start()
        try:
            await self.become(who)
            return await self.app.execute(statement, *values)
        finally:
            await transaction.rollback()


@pytest.fixture(scope="module")
async def tenants(postgres):
    app = await asyncpg.connect(postgres.app_url)
    tenants = Tenants(app)
    await tenants.fill()
    yield tenants
    await app.close()


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("table", TABLES)
async def test_select(tenants, table, who):
    found = await tenants.run(who, f"SELECT FROM {table} WHERE id = $1", tenants.rows[table])
    assert found == ("SELECT 1" if who == "owner" else "SELECT 0")


@pytest.mark.parametrize("table", TABLES)
async def test_nobody_sees_any_row(tenants, table):
    assert await tenants.run("nobody", f"SELECT FROM {table}") == "SELECT 0"


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("table", TABLES)
async def test_update(tenants, table, who):
    statement = f"UPDATE {table} SET {_CHANGES[table]} WHERE id = $1"
    changed = await tenants.run(who, statement, tenants.rows[table])
    assert changed == ("UPDATE 1" if who == "owner" else "UPDATE 0")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("table", TABLES)
async def test_delete(tenants, table, who):
    deleted = await tenants.run(who, f"DELETE FROM {table} WHERE id = $1", tenants.rows[table])
    assert deleted == ("DELETE 1" if who == "owner" else "DELETE 0")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_insert(tenants, table, who):
    """A row of the owner can be made by nobody else."""
    transaction = tenants.app.transaction()
    await transaction.start()
    try:
        await tenants.become(who)
        if who == "owner":
            assert await tenants.insert(table, tenants.users["owner"], new_id()) == "INSERT 0 1"
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await tenants.insert(table, tenants.users["owner"], new_id())
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("who", WHO)
async def test_insert_users(tenants, who):
    """An account is made by its own new user, and as a student."""
    new = new_id()
    statement = f"INSERT INTO users {_INSERTS['users']}"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenants.run(who, statement, new)
    tenants.users["newcomer"] = new
    assert await tenants.run("newcomer", statement, new) == "INSERT 0 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenants.run(
            "newcomer", statement.replace("display_name)", "display_name, role)")[:-1] + ", 'admin')", new
        )


async def test_nobody_gives_themselves_a_role(tenants):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenants.run("owner", "UPDATE users SET role = 'admin'")


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_a_row_cannot_be_given_away(tenants, table):
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError)):
        await tenants.run("owner", f"UPDATE {table} SET user_id = $1", tenants.users["other"])


@pytest.mark.parametrize("table", list(_PARENTS))
async def test_a_row_cannot_hang_on_somebody_elses_parent(tenants, table):
    transaction = tenants.app.transaction()
    await transaction.start()
    try:
        await tenants.become("other")
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await tenants.insert(table, tenants.users["other"], new_id())
    finally:
        await transaction.rollback()


async def test_every_table_forces_row_level_security(postgres):
    owner = await asyncpg.connect(postgres.owner_url)
    query = """
        SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class
        WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    """
    forced = dict(await owner.fetch(query))
    await owner.close()
    tables = (*TABLES, *OTHER_TABLES)
    assert forced == dict.fromkeys(tables, True)
    assert set(Base.metadata.tables) == set(tables)


async def test_the_definer_functions_are_those_of_the_list(postgres):
    owner = await asyncpg.connect(postgres.owner_url)
    rows = await owner.fetch("""
        SELECT p.oid::regprocedure::text AS name, pg_get_userbyid(proowner) AS owner, proconfig,
            has_function_privilege('public', p.oid, 'EXECUTE') AS public
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    """)
    listed = {await owner.fetchval("SELECT $1::regprocedure::text", name) for name in FUNCTIONS}
    await owner.close()
    assert {row["name"] for row in rows} == listed
    assert {row["owner"] for row in rows} == {"lm_system"}
    assert all(any(item.startswith("search_path=pg_catalog") for item in row["proconfig"]) for row in rows)
    assert not any(row["public"] for row in rows)


async def test_the_services_role_cannot_become_another(postgres):
    app = await asyncpg.connect(postgres.app_url)
    for role in ("lm_system", "postgres"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("ALTER TABLE users DISABLE ROW LEVEL SECURITY")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("CREATE TABLE public.mine ()")
    await app.close()


async def test_the_user_is_asked_for_once_a_statement(tenants):
    """An InitPlan, not a filter that calls the function for each row."""
    async with tenants.app.transaction():
        await tenants.become("owner")
        plan = "\n".join(row[0] for row in await tenants.app.fetch("EXPLAIN SELECT * FROM document_chunks"))
    assert "InitPlan" in plan

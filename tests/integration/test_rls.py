"""Every table, every command, as the owner of a row, another, nobody, a moderator and an admin.

The matrix is made of `ROWS` (a row of each table, and of each state that decides who sees it) and `RULES`. A
table of the database without a row fails.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import Base, new_id
from little_monster.db.policies import (
    administration,
    content,
    definers,
    exports,
    external_identities,
    identity,
    last_admin,
    library,
    moderation,
    outbox,
    planner,
    queue,
    retention,
    search,
)
from tests.fixtures.tenants import INSERTS, PARENTS, ROWS, STAFF, WHO, Tenants, open_tenants

FUNCTIONS = (
    *definers.FUNCTIONS,
    *content.FUNCTIONS,
    *search.FUNCTIONS,
    *identity.FUNCTIONS,
    *planner.FUNCTIONS,
    *administration.FUNCTIONS,
    *queue.FUNCTIONS,
    *external_identities.FUNCTIONS,
    *last_admin.FUNCTIONS,
    *moderation.FUNCTIONS,
    *exports.FUNCTIONS,
    *retention.FUNCTIONS,
    *library.FUNCTIONS,
    *outbox.FUNCTIONS,
)
TABLES = tuple(INSERTS)
# Tables that are no user's, which test_rls_queue.py, test_rls_identities.py and test_rls_outbox.py try.
NOBODYS = (external_identities.ENDED_TABLE, *outbox.TABLES)
APART = (*(f"queue.{table}" for table in queue.TABLES), *NOBODYS)
_EVERY_SCHEMA = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"

NONE: frozenset[str] = frozenset()
OWN, ALL = frozenset({"owner"}), frozenset(WHO)


@dataclass(frozen=True)
class Rule:
    """Who may do what with a row of the owner's; None where no service has the right at all. `insert` is who
    may make one that is the owner's."""

    select: frozenset[str] = OWN
    insert: frozenset[str] = OWN
    update: frozenset[str] | None = OWN
    delete: frozenset[str] | None = OWN


PRIVATE = Rule()
STAFF_TOO = Rule(select=OWN | STAFF, update=OWN | STAFF, delete=OWN | STAFF)
FOR_ALL = Rule(select=ALL, update=OWN | STAFF, delete=OWN | STAFF)
# Of each table, and of rows that are not as the others of theirs.
RULES = {
    "audit_events": Rule(update=None, delete=None),
    "videos": STAFF_TOO,
    "comments": STAFF_TOO,
    "public video": FOR_ALL,
    "approved comment": FOR_ALL,
    # Nobody comments on or rates what they do not see; what they said before stays their own.
    "comment out of sight": Rule(OWN | STAFF, NONE, OWN | STAFF, OWN | STAFF),
    "rating out of sight": Rule(OWN, NONE, NONE, NONE),
}
CHANGES = {
    "users": "display_name = 'changed'",
    "audit_events": "kind = 'changed'",
    "videos": "title = 'changed'",
    "comments": "is_hidden = is_hidden",
    "ratings": "stars = 1",
}


def rule_of(row: str) -> Rule:
    return RULES.get(row, RULES.get(ROWS[row][0], PRIVATE))


@pytest.fixture(scope="module")
async def tenants(postgres):
    async with open_tenants(postgres) as tenants:
        yield tenants


matrix = [pytest.mark.parametrize("who", WHO), pytest.mark.parametrize("row", ROWS)]


def every_cell(test):
    for mark in matrix:
        test = mark(test)
    return test


async def test_every_table_of_the_database_is_tried(postgres):
    """And every one of them enables and forces row level security."""
    owner = await asyncpg.connect(postgres.owner_url)
    found = await owner.fetch(f"""
        SELECT c.oid::regclass::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND {_EVERY_SCHEMA} AND c.relname <> 'alembic_version'
    """)
    await owner.close()
    assert {row["name"]: row["forced"] for row in found} == dict.fromkeys((*TABLES, *APART), True)
    assert {table for table, _ in ROWS.values()} == set(TABLES)
    assert set(Base.metadata.tables) == {*TABLES, *NOBODYS}
    assert set(RULES) <= {*TABLES, *ROWS}


@every_cell
async def test_select(tenants, row, who):
    found = await tenants.run(who, f"SELECT FROM {ROWS[row][0]} WHERE id = $1", tenants.rows[row])
    assert found == f"SELECT {int(who in rule_of(row).select)}"


@every_cell
async def test_update(tenants, row, who):
    table = ROWS[row][0]
    statement = f"UPDATE {table} SET {CHANGES.get(table, 'user_id = user_id')} WHERE id = $1"
    await expect(tenants, who, "UPDATE", rule_of(row).update, statement, tenants.rows[row])


@every_cell
async def test_delete(tenants, row, who):
    statement = f"DELETE FROM {ROWS[row][0]} WHERE id = $1"
    await expect(tenants, who, "DELETE", rule_of(row).delete, statement, tenants.rows[row])


async def expect(
    tenants: Tenants, who: str, command: str, allowed: frozenset[str] | None, statement: str, row: UUID
) -> None:
    if allowed is None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await tenants.run(who, statement, row)
    else:
        assert await tenants.run(who, statement, row) == f"{command} {int(who in allowed)}"


@every_cell
async def test_insert(tenants, row, who):
    """A row of the owner's is made by nobody else, whatever role they have."""
    table, state = ROWS[row]
    if table == "users":
        # An account is made by its own new user.
        newcomer = new_id()
        if who == "owner":
            tenants.users["newcomer"] = newcomer
        who = "newcomer" if who == "owner" else who
        insertion = tenants.insertion("users", newcomer, None)
    else:
        insertion = tenants.insertion(table, tenants.users["owner"], new_id(), state.get("parent"))
    if who in rule_of(row).insert or who == "newcomer":
        assert await tenants.run(who, *insertion) == "INSERT 0 1"
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await tenants.run(who, *insertion)


@pytest.mark.parametrize("who", [who for who in WHO if who != "nobody"])
@pytest.mark.parametrize("table", [table for table in TABLES if table not in PARENTS and table != "users"])
async def test_everybody_makes_rows_of_their_own(tenants, table, who):
    assert await tenants.run(who, *tenants.insertion(table, tenants.users[who], new_id())) == "INSERT 0 1"


@pytest.mark.parametrize("table", TABLES)
async def test_nobody_sees_a_row_that_is_not_for_all(tenants, table):
    seen = sum(1 for row in ROWS if ROWS[row][0] == table and "nobody" in rule_of(row).select)
    rows = [tenants.rows[row] for row in ROWS if ROWS[row][0] == table]
    found = await tenants.run("nobody", f"SELECT FROM {table} WHERE id = ANY ($1)", rows)
    assert found == f"SELECT {seen}"
    if not seen:
        assert await tenants.run("nobody", f"SELECT FROM {table}") == "SELECT 0"


async def test_an_account_begins_as_a_student(tenants):
    tenants.users["newcomer"] = new_id()
    statement, new = tenants.insertion("users", tenants.users["newcomer"], None)
    as_admin = statement.replace("display_name)", "display_name, role)")[:-1] + ", 'admin')"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenants.run("newcomer", as_admin, new)


@pytest.mark.parametrize("who", WHO)
async def test_nobody_gives_a_role(tenants, who):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await tenants.run(who, "UPDATE users SET role = 'admin'")


@pytest.mark.parametrize("table", [table for table in TABLES if table != "users"])
async def test_a_row_cannot_be_given_away(tenants, table):
    owner = "created_by" if table == "videos" else "user_id"
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError)):
        await tenants.run("owner", f"UPDATE {table} SET {owner} = $1", tenants.users["other"])


@pytest.mark.parametrize("table", ["document_chunks", "chat_messages"])
async def test_a_row_cannot_hang_on_somebody_elses_parent(tenants, table):
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await tenants.run("other", *tenants.insertion(table, tenants.users["other"], new_id()))


async def test_the_roles_of_services_own_nothing_and_bypass_nothing(postgres):
    """Neither the role that they log in as, nor any that it is a member of, nor the one that owns the
    functions."""
    owner = await asyncpg.connect(postgres.owner_url)
    app = postgres.app_url.partition("://")[2].partition(":")[0]
    roles = await owner.fetch(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin"
        " FROM pg_roles WHERE rolname = 'lm_system' OR pg_has_role($1, oid, 'MEMBER')",
        app,
    )
    owned = await owner.fetch(
        """
        SELECT s.classid::regclass::text, s.objid FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
        WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o'
            AND pg_has_role($1, r.oid, 'MEMBER')
        """,
        app,
    )
    tables_of_system = await owner.fetchval(
        "SELECT count(*) FROM pg_class WHERE relowner = 'lm_system'::regrole"
    )
    await owner.close()
    assert {role["rolname"] for role in roles} == {app, "lm_app", "lm_system"}
    for role in roles:
        assert not any(value for name, value in role.items() if name not in ("rolname", "rolcanlogin"))
        assert role["rolcanlogin"] is (role["rolname"] == app)
    assert owned == []
    assert tables_of_system == 0


async def test_every_policy_is_for_a_role_of_ours(postgres):
    owner = await asyncpg.connect(postgres.owner_url)
    policies = await owner.fetch("SELECT tablename, roles::text[] AS roles, permissive FROM pg_policies")
    open_to_all = await owner.fetch(f"""
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
        WHERE a.grantee = 0 AND {_EVERY_SCHEMA}
    """)
    await owner.close()
    assert {table["tablename"] for table in policies} == {
        *TABLES,
        *(name.rpartition(".")[2] for name in APART),
    }
    assert {role for policy in policies for role in policy["roles"]} == {"lm_app", "lm_system"}
    assert open_to_all == []


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
    async with tenants.acting("owner") as connection:
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN SELECT * FROM document_chunks"))
    assert "InitPlan" in plan

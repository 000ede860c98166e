"""A seeded database: its counts are what a recount gives, its accounts log in, policies and triggers stay."""

import asyncpg
import pytest

from little_monster.db import migrate
from little_monster.db.engine import create_engine
from little_monster.db.errors import SeedRefused
from little_monster.db.repositories import users
from little_monster.db.seed_rows import SeedPlan
from little_monster.db.seeding import TABLES, seed
from little_monster.db.session import Database
from little_monster.platform.security import PasswordHasher

APP_ROLE = "lm_service"
PLAN = SeedPlan(users=12, videos=60, comments=400, chunks=105, seed=7)
MISCOUNTED = """
    SELECT count(*) FROM videos v WHERE
        v.rating_count <> (SELECT count(*) FROM ratings r WHERE r.video_id = v.id)
        OR v.rating_avg <> (SELECT coalesce(avg(stars), 0) FROM ratings r WHERE r.video_id = v.id)
        OR v.comment_count <> (
            SELECT count(*) FROM comments c
            WHERE c.video_id = v.id AND NOT c.is_hidden AND c.moderation_status = 'approved'
        )
"""
MISCOUNTED_DOCUMENTS = """
    SELECT count(*) FROM user_documents d
    WHERE d.chunk_count <> (SELECT count(*) FROM document_chunks c WHERE c.document_id = d.id)
"""
UNTRUE_COPIES = """
    SELECT count(*) FROM comments c JOIN videos v ON v.id = c.video_id
    WHERE (c.video_status, c.video_created_by) <> (v.status, v.created_by)
"""
UNPROTECTED = """
    SELECT count(*) FROM pg_class
    WHERE relname = ANY ($1) AND relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)
"""
SILENT = "SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'"
CONTENT = "SELECT md5(string_agg(to_jsonb(r)::text, ',' ORDER BY id)) FROM {} r"


class Scratch:
    """A migrated, empty database: URLs of who owns its tables, of the services, and a superuser's
    connection."""

    def __init__(self, owner_url: str, app_url: str, admin: asyncpg.Connection) -> None:
        self.owner_url, self.app_url, self.admin = owner_url, app_url, admin


@pytest.fixture(params=["superuser", "plain owner"])
async def scratch(request, postgres):
    name = await postgres.new_database()
    admin = await asyncpg.connect(postgres.url("postgres", name))
    owner_url = postgres.url("postgres", name)
    if request.param == "plain owner":
        role = f"{name}_owner"
        await admin.execute(f"CREATE ROLE {role} LOGIN")
        await admin.execute(f"GRANT lm_system TO {role}")
        await admin.execute(f"ALTER DATABASE {name} OWNER TO {role}")
        owner_url = postgres.url(role, name)
    await migrate.upgrade(owner_url, APP_ROLE)
    yield Scratch(owner_url, postgres.url(APP_ROLE, name, "lm-service-test"), admin)
    await admin.close()


async def fill(scratch, plan: SeedPlan = PLAN, *, force: bool = False, told=None) -> dict[str, int]:
    def progress(*step: object) -> None:
        if told is not None:
            told.append(step)

    return await seed(scratch.owner_url, plan, "$argon2id$none", force=force, progress=progress)


async def test_the_counts_are_what_a_recount_gives(scratch):
    told = []
    written = await fill(scratch, told=told)
    for table in TABLES:
        assert await scratch.admin.fetchval(f"SELECT count(*) FROM {table}") == written[table]
        assert (table, written[table], written[table]) in told
    assert (written["users"], written["videos"], written["comments"]) == (12, 60, 400)
    assert (written["user_documents"], written["document_chunks"]) == (6, 105)
    assert await scratch.admin.fetchval(MISCOUNTED) == 0
    assert await scratch.admin.fetchval(MISCOUNTED_DOCUMENTS) == 0
    assert await scratch.admin.fetchval(UNTRUE_COPIES) == 0
    # What is compared is not all nothing.
    sums = "SELECT sum(rating_count) > 100, sum(comment_count) > 200, max(rating_avg) > 3 FROM videos"
    assert [*await scratch.admin.fetchrow(sums)] == [True, True, True]


async def test_it_leaves_policies_and_triggers_as_they_were(scratch):
    await fill(scratch)
    assert await scratch.admin.fetchval(UNPROTECTED, [*TABLES]) == 0
    assert await scratch.admin.fetchval(SILENT) == 0
    # They count again.
    approve = "UPDATE comments SET moderation_status = 'approved', is_hidden = false"
    await scratch.admin.execute(approve)
    assert await scratch.admin.fetchval(MISCOUNTED) == 0
    await scratch.admin.execute("DELETE FROM ratings WHERE stars = 5")
    assert await scratch.admin.fetchval(MISCOUNTED) == 0


async def test_it_refuses_accounts_unless_forced(scratch):
    await fill(scratch)
    other = SeedPlan(users=3, videos=0, comments=0, chunks=0, seed=8)
    with pytest.raises(SeedRefused, match="accounts"):
        await fill(scratch, other)
    assert await scratch.admin.fetchval("SELECT count(*) FROM users") == 12
    assert await scratch.admin.fetchval(UNPROTECTED, [*TABLES]) == 0
    await fill(scratch, other, force=True)
    assert await scratch.admin.fetchval("SELECT count(*) FROM users") == 15
    with pytest.raises(SeedRefused, match="another seed"):
        await fill(scratch, other, force=True)
    assert await scratch.admin.fetchval("SELECT count(*) FROM users") == 15
    assert await scratch.admin.fetchval(SILENT) == 0


async def test_the_same_seed_makes_the_same_rows(scratch):
    contents = []
    for plan in (PLAN, PLAN, SeedPlan(12, 60, 400, 105, seed=9)):
        await scratch.admin.execute("DELETE FROM users")
        await fill(scratch, plan)
        contents.append([await scratch.admin.fetchval(CONTENT.format(table)) for table in TABLES])
    assert contents[0] == contents[1]
    assert all(same != other for same, other in zip(contents[0], contents[2], strict=True))


async def test_a_seeded_account_logs_in(scratch):
    hasher = PasswordHasher(1)
    hashed = await hasher.hash("a printed password")
    await seed(scratch.owner_url, PLAN, hashed, force=False, progress=lambda *_: None)
    database = Database(create_engine(scratch.app_url, pool_size=1))
    async with database.session(None) as session:
        found = await users.find_login(session, "student3.seed7@example.com")
    await database.close()
    assert found is not None
    assert await hasher.verify(found.password_hash, "a printed password")


async def test_a_database_without_tables_is_refused(postgres):
    name = await postgres.new_database()
    with pytest.raises(SeedRefused, match="migrate"):
        await seed(postgres.url("postgres", name), PLAN, "", force=False, progress=lambda *_: None)

"""Migrations: up and down on a filled database, true to the models, for a superuser and for a plain owner."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from little_monster.db import migrate
from little_monster.db.base import Base, new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import DatabaseUnavailable, MigrationFailed
from little_monster.db.models import (
    Difficulty,
    FileType,
    MessageRole,
    ModerationStatus,
    Subject,
    VideoStatus,
)
from little_monster.db.policies import content
from little_monster.db.repositories import (
    calendar_feeds,
    chat_conversations,
    chat_messages,
    comments,
    document_chunks,
    external_identities,
    jobs,
    notifications,
    planner_events,
    ratings,
    user_documents,
    users,
    videos,
)
from little_monster.db.session import Database, Session
from tests.fixtures.videos import show

APP_ROLE = "lm_service"


@pytest.fixture
async def scratch(postgres):
    """The superuser's URL of an empty database, and the services' URL of it."""
    name = await postgres.new_database()
    return postgres.url("postgres", name), postgres.url(APP_ROLE, name)


async def differences(url: str) -> list[object]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    options = {"compare_type": True, "compare_server_default": True}
    async with engine.connect() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts=options), Base.metadata)
        )
    await engine.dispose()
    return found


async def fill(url: str) -> None:
    database, user_id, document_id = Database(create_engine(url, pool_size=1)), new_id(), new_id()
    async with database.session(user_id) as session:
        await users.create(session, user_id=user_id, email="a@b.org", password_hash="x", display_name="A")
        await user_documents.create(
            session,
            document_id=document_id,
            user_id=user_id,
            title="Optics",
            file_type=FileType.PDF,
            file_url="key",
            file_size=1,
            content_hash="00",
        )
        chunk = document_chunks.NewChunk(new_id(), 0, "Light", "00", 1, 0, 5)
        assert await document_chunks.replace_all(
            session, user_id=user_id, document_id=document_id, chunks=[chunk]
        )
        conversation = await chat_conversations.create(session, user_id=user_id, title="T")
        await chat_messages.add(
            session, user_id=user_id, conversation_id=conversation.id, role=MessageRole.USER, content="?"
        )
        await jobs.create(session, user_id=user_id, kind="ingest_document", subject_id=document_id)
        await fill_content(session, user_id)
        await fill_planner(session, user_id)
    await database.close()


async def fill_content(session: Session, user_id: UUID) -> None:
    video = await videos.create(
        session,
        created_by=user_id,
        title="Optics",
        topic="Light",
        subject=Subject.PHYSICS,
        difficulty=Difficulty.BEGINNER,
    )
    comment = await comments.create(session, video_id=video.id, user_id=user_id, text="Bright")
    await comments.judge(session, comment, ModerationStatus.APPROVED)
    await ratings.put(session, video_id=video.id, user_id=user_id, stars=4)
    await show(session, video.id)
    changed = await videos.get(session, video.id)
    assert changed is not None
    assert (changed.comment_count, changed.rating_count, changed.rating_avg) == (1, 1, 4)
    await session.refresh(comment)
    assert comment.video_status is VideoStatus.PUBLIC


async def fill_planner(session: Session, user_id: UUID) -> None:
    now = datetime.now(UTC)
    await planner_events.create(
        session, event_id=new_id(), user_id=user_id, uid="1", title="T", start_date=now, end_date=now
    )
    await notifications.create(session, user_id=user_id, kind="test", title="T")
    await calendar_feeds.create(session, user_id=user_id, token_hash=b"hash")


async def test_up_down_up_on_a_filled_database(scratch):
    owner_url, app_url = scratch
    assert await migrate.current_revision(owner_url) is None
    await migrate.upgrade(owner_url, APP_ROLE)
    assert await migrate.current_revision(owner_url) == migrate.head_revision()
    await fill(app_url)
    await migrate.downgrade(owner_url)
    assert await migrate.current_revision(owner_url) is None
    assert await left_over(owner_url) == []
    await migrate.upgrade(owner_url, APP_ROLE)
    await fill(app_url)


async def test_reminders_are_told_as_before_after_a_step_back(scratch):
    owner_url, _ = scratch

    async def told() -> tuple[object, ...]:
        connection = await asyncpg.connect(owner_url)
        row = await connection.fetchrow(
            "SELECT pg_get_function_result(oid) LIKE '%told boolean%', proowner::regrole::text,"
            " EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0)"
            " FROM pg_proc WHERE proname = 'emit_due_reminders'"
        )
        await connection.close()
        return tuple(row)

    await migrate.upgrade(owner_url, APP_ROLE)
    assert await told() == (True, "lm_system", False)
    await migrate.downgrade(owner_url, "0009")
    assert await told() == (False, "lm_system", False)
    await migrate.upgrade(owner_url, APP_ROLE)
    assert await told() == (True, "lm_system", False)


async def test_the_community_goes_and_the_rest_stays(scratch):
    owner_url, app_url = scratch
    await migrate.upgrade(owner_url, APP_ROLE)
    await fill(app_url)
    await migrate.downgrade(owner_url, "0001")
    connection = await asyncpg.connect(owner_url)
    assert await connection.fetchval("SELECT count(*) FROM document_chunks") == 1
    assert await connection.fetchval("SELECT to_regclass('videos')") is None
    assert await connection.fetchval("SELECT to_regnamespace('content')") is None
    assert await connection.fetchval("SELECT to_regprocedure('auth.has_role(text)')") is None
    await migrate.upgrade(owner_url, APP_ROLE)
    assert await connection.fetchval("SELECT count(*) FROM users") == 1
    await connection.close()


async def test_the_planner_goes_and_comes_and_the_rest_stays(scratch):
    owner_url, app_url = scratch
    await migrate.upgrade(owner_url, APP_ROLE)
    await fill(app_url)
    await migrate.downgrade(owner_url, "0002")
    connection = await asyncpg.connect(owner_url)
    assert await connection.fetchval("SELECT to_regclass('planner_events')") is None
    assert await connection.fetchval("SELECT count(*) FROM document_chunks") == 1
    await connection.close()
    await migrate.upgrade(owner_url, APP_ROLE)
    await works(app_url)


async def left_over(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("""
        SELECT relname::text AS name FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relname !~ '^alembic_version'
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT typname FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typname !~ 'alembic_version'
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname IN ('auth', 'queue', 'content', 'planner')
    """)
    await connection.close()
    return [row["name"] for row in rows]


async def test_a_second_upgrade_keeps_everything(scratch):
    owner_url, app_url = scratch
    await migrate.upgrade(owner_url, APP_ROLE)
    await fill(app_url)
    await migrate.upgrade(owner_url, APP_ROLE)
    connection = await asyncpg.connect(owner_url)
    assert await connection.fetchval("SELECT count(*) FROM document_chunks") == 1
    await connection.close()


async def test_the_policies_of_the_community_can_be_applied_again(scratch):
    owner_url, app_url = scratch
    await migrate.upgrade(owner_url, APP_ROLE)
    connection = await asyncpg.connect(owner_url)
    for statement in content.create():
        await connection.execute(statement)
    await connection.close()
    await fill(app_url)


async def test_two_upgrades_at_once(scratch):
    owner_url, _ = scratch
    await asyncio.gather(*(migrate.upgrade(owner_url, APP_ROLE) for _ in range(3)))
    assert await migrate.current_revision(owner_url) == migrate.head_revision()


async def test_the_migrations_make_what_the_models_say(postgres):
    assert await differences(postgres.owner_url) == []


async def test_the_enums_have_the_labels_of_the_models(postgres):
    connection = await asyncpg.connect(postgres.owner_url)
    rows = await connection.fetch("""
        SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
        FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
        WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.typname
    """)
    await connection.close()
    kinds = {column.type for table in Base.metadata.tables.values() for column in table.columns}
    wanted = {kind.name: kind.enums for kind in kinds if hasattr(kind, "enums")}
    assert {row["typname"]: row["labels"] for row in rows} == wanted


async def test_a_role_that_is_missing_is_named_and_nothing_changes(scratch):
    owner_url, _ = scratch
    with pytest.raises(MigrationFailed, match="no role lm_absent"):
        await migrate.upgrade(owner_url, "lm_absent")
    assert await migrate.current_revision(owner_url) is None


async def test_no_server_is_unavailable(tmp_path):
    with pytest.raises(DatabaseUnavailable):
        await migrate.upgrade(f"postgresql://x@/y?host={tmp_path}", APP_ROLE)


async def test_the_app_role_gets_a_new_password(postgres):
    admin_url = postgres.url("postgres", "postgres")
    for password in ("it's", 'a "second"'):
        await migrate.ensure_app_role(admin_url, "lm_another", password, "little_monster")
    database = Database(create_engine(postgres.url("lm_another", "little_monster"), pool_size=1))
    await database.check_role()
    await database.close()


async def test_an_owner_that_is_no_superuser_migrates(other_postgres):
    """With CREATEROLE and a database of its own; its own rows are bound by row level security too."""
    admin = await asyncpg.connect(other_postgres.url("postgres", "postgres"))
    await admin.execute("CREATE ROLE lm_owner LOGIN CREATEROLE")
    await admin.execute("CREATE ROLE lm_service LOGIN")
    await admin.execute("CREATE DATABASE plain OWNER lm_owner")
    await admin.close()
    owner_url, app_url = other_postgres.url("lm_owner", "plain"), other_postgres.url("lm_service", "plain")
    # CREATEROLE may grant only roles of its own making; lm_app is one, lm_service need not be.
    await migrate.upgrade(owner_url, "lm_service")
    await fill(app_url)
    await works(app_url)
    owner = await asyncpg.connect(owner_url)
    assert await owner.fetchval("SELECT count(*) FROM document_chunks") == 0
    await owner.close()
    assert await differences(owner_url) == []
    await migrate.upgrade(owner_url, "lm_service")
    await migrate.downgrade(owner_url)
    await migrate.upgrade(owner_url, "lm_service")
    await fill(app_url)


async def works(app_url: str) -> None:
    database = Database(create_engine(app_url, pool_size=1))
    await database.check_role()
    async with database.session(None) as session:
        login = await users.find_login(session, "A@b.org")
    async with database.session(login.user_id) as session:
        (waiting,) = await jobs.list(session, limit=5)
    async with database.session(None) as session:
        job = await jobs.begin(session, waiting.id, worker="w")
    assert job.user_id == login.user_id
    async with database.session(login.user_id) as session:
        (document,) = [one.document for one in await user_documents.list(session, limit=5)]
        assert document.chunk_count == 1
        assert await user_documents.delete(session, document.id)
        assert await document_chunks.list(session, document.id, limit=5) == []
        await external_identities.create(
            session, user_id=login.user_id, issuer="https://issuer.org", subject="7", email=None
        )
        assert await users.delete(session, login.user_id)
    async with database.session(None) as session:
        subject = await external_identities.find(session, "https://issuer.org", "7")
    assert (subject.user_id, subject.barred) == (None, False)
    assert subject.ended_at is not None
    await database.close()

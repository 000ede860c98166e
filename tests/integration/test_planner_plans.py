"""Every query of the planner finds its rows by an index, in a table of many users' events."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.models import EventType
from little_monster.db.repositories import calendar_feeds, notifications, planner_events
from little_monster.db.session import Database, Session

APP_ROLE = "lm_service"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
AFTER = (NOW, UUID(int=0))

# 100 users with 400 events each, one a week, of which one in twenty recurs.
FILL = """
    INSERT INTO users (id, email, password_hash, display_name)
    SELECT gen_random_uuid(), n || '@example.org', '', '' FROM generate_series(1, 100) n;
    INSERT INTO planner_events (id, user_id, title, start_date, end_date, uid, recurrence, created_at)
    SELECT gen_random_uuid(), u.id, 'T', day, day + interval '1 hour', n::text,
        CASE WHEN n % 20 = 0 THEN 'FREQ=WEEKLY' END, day
    FROM users u, generate_series(1, 400) n,
        LATERAL (SELECT '2020-01-01'::timestamptz + n * interval '7 days') d (day);
    INSERT INTO notifications (id, user_id, kind, title, created_at, read_at)
    SELECT gen_random_uuid(), user_id, 'test', '', created_at, CASE WHEN uid::int % 50 > 0 THEN now() END
    FROM planner_events;
    INSERT INTO calendar_feeds (id, user_id, token_hash)
    SELECT gen_random_uuid(), user_id, uuid_send(id) FROM planner_events WHERE uid::int < 10;
    ANALYZE;
"""


@pytest.fixture(scope="module")
async def filled(postgres: Any) -> AsyncIterator[tuple[AsyncEngine, UUID]]:
    name = await postgres.new_database()
    owner_url = postgres.url("postgres", name)
    await migrate.upgrade(owner_url, APP_ROLE)
    owner = await asyncpg.connect(owner_url)
    await owner.execute(FILL)
    user_id = await owner.fetchval("SELECT id FROM users LIMIT 1")
    await owner.close()
    engine = create_engine(postgres.url(APP_ROLE, name), pool_size=1)
    yield engine, UUID(str(user_id))
    await engine.dispose()


QUERIES: dict[str, Callable[[Session], Awaitable[object]]] = {
    "list": lambda session: planner_events.list(session, limit=21),
    "list after": lambda session: planner_events.list(session, limit=21, after=AFTER),
    "list filtered": lambda session: planner_events.list(session, limit=21, type=EventType.EXAM),
    "month": lambda session: planner_events.list_single(session, NOW, NOW + MONTH, limit=21),
    "month after": lambda session: planner_events.list_single(
        session, NOW, NOW + MONTH, limit=21, after=AFTER
    ),
    "month's series": lambda session: planner_events.list_series(session, NOW, NOW + MONTH),
    "feed": lambda session: planner_events.list_since(session, NOW),
    "feed version": lambda session: planner_events.version_since(session, NOW),
    "counts": planner_events.count,
    "uids": lambda session: planner_events.find_by_uids(session, ["1", "2", "3"]),
    "delete": lambda session: planner_events.delete(session, new_id()),
    "notifications": lambda session: notifications.list(session, limit=21),
    "unread": lambda session: notifications.list(session, limit=21, unread=True),
    "read": lambda session: notifications.set_read(session, new_id(), True),
    "feeds": lambda session: calendar_feeds.list(session, limit=21),
    "feeds counted": calendar_feeds.count_good,
    "feed touched": lambda session: calendar_feeds.touch(session, b"x"),
}


@pytest.mark.parametrize("name", list(QUERIES))
async def test_a_query_reads_no_whole_table(filled: tuple[AsyncEngine, UUID], name: str) -> None:
    engine, user_id = filled
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    async with Database(engine).session(user_id) as session:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
        await QUERIES[name](session)
        event.remove(engine.sync_engine, "before_cursor_execute", note)
        ((statement, parameters),) = seen
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        plan = "\n".join(row[0] for row in rows)
    assert "Index" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "SubPlan" not in plan, plan

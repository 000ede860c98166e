"""Each query of the community on big tables: no scan of one of them, no subplan per row."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.models import ModerationStatus, Subject, VideoStatus
from little_monster.db.repositories import comments, ratings, users, videos
from little_monster.db.repositories.videos import VideoFilter, VideoOrder
from little_monster.db.session import Database, Session

VIDEOS, COMMENTS, RATINGS, USERS = 20_000, 60_000, 40_000, 300
NOW = datetime(2030, 1, 1, tzinfo=UTC)

# As the tables' owner: triggers would count what is not looked at here.
FILL = f"""
    SET session_replication_role = replica;
    INSERT INTO users (id, email, password_hash, display_name, role)
        SELECT uuidv7(), n || '@example.org', '', '',
            CASE n WHEN 1 THEN 'moderator' ELSE 'student' END::user_role
        FROM generate_series(1, {USERS}) n;
    CREATE TEMP TABLE people AS SELECT id, row_number() OVER () AS number FROM users;
    INSERT INTO videos
        (id, title, subject, difficulty, topic, created_by, status, moderation_status, rating_avg, view_count,
            tags, created_at)
        SELECT uuidv7(), 'word' || n % 500 || ' of the lesson', (enum_range(NULL::subject))[1 + n % 14],
            'beginner', 'topic' || n % 7, p.id,
            CASE WHEN n % 5 = 0 THEN 'draft' ELSE 'public' END::video_status,
            CASE WHEN n % 5 <> 0 THEN 'approved' WHEN n % 100 = 0 THEN 'flagged' END::moderation_status,
            n % 50 / 10.0, n % 1000,
            ARRAY['tag' || n % 400], now() - n * interval '1 minute'
        FROM generate_series(1, {VIDEOS}) n JOIN people p ON p.number = 1 + n % {USERS};
    CREATE TEMP TABLE watched AS SELECT id, created_by, status, row_number() OVER () AS number FROM videos;
    INSERT INTO comments
        (id, video_id, user_id, text, moderation_status, video_created_by, video_status, created_at)
        SELECT uuidv7(), w.id, p.id, 'Nice',
            CASE WHEN n % 100 = 0 THEN 'flagged' ELSE 'approved' END::moderation_status,
            w.created_by, w.status, now() - n * interval '1 second'
        FROM generate_series(1, {COMMENTS}) n
        JOIN watched w ON w.number = 1 + n % 2000 JOIN people p ON p.number = 1 + n % {USERS};
    INSERT INTO ratings (id, video_id, user_id, stars)
        SELECT uuidv7(), w.id, p.id, 1 + n % 5
        FROM generate_series(1, {RATINGS}) n
        JOIN watched w ON w.number = 1 + n % 3000 JOIN people p ON p.number = 1 + n / 3000;
    RESET session_replication_role;
    ANALYZE;
"""


class School:
    """A filled database; `plan` runs a query of a repository and explains each of its statements."""

    def __init__(self, owner: asyncpg.Connection, app: asyncpg.Connection, engine: AsyncEngine) -> None:
        self.owner, self.app, self.engine = owner, app, engine
        self.database = Database(engine)

    async def find(self) -> None:
        self.moderator = await self.owner.fetchval("SELECT id FROM users WHERE role = 'moderator'")
        self.student = await self.owner.fetchval("SELECT id FROM users WHERE role = 'student' LIMIT 1")
        busiest = "SELECT video_id FROM comments WHERE video_status = 'public' GROUP BY 1 LIMIT 1"
        self.video = await self.owner.fetchval(busiest)
        self.comment = await self.owner.fetchval("SELECT id FROM comments WHERE video_id = $1", self.video)

    async def plan(self, who: UUID, query: Callable[[Session], Awaitable[Any]]) -> str:
        async with self.database.session(who) as session:
            with self.statements() as statements:
                assert await query(session) is not None
            await session.rollback()
        lines = []
        for statement, parameters in statements:
            async with self.app.transaction():
                await self.app.execute(f"SET LOCAL app.user_id = '{who}'")
                lines += [row[0] for row in await self.app.fetch(f"EXPLAIN {statement}", *parameters)]
        return "\n".join(lines)

    @contextmanager
    def statements(self) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
        seen: list[tuple[str, tuple[Any, ...]]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            seen.append((statement, tuple(parameters)))

        event.listen(self.engine.sync_engine, "before_cursor_execute", note)
        yield seen
        event.remove(self.engine.sync_engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
async def school(postgres):
    name = await postgres.new_database()
    await migrate.upgrade(postgres.url("postgres", name), "lm_service")
    owner = await asyncpg.connect(postgres.url("postgres", name))
    await owner.execute(FILL)
    app = await asyncpg.connect(postgres.url("lm_service", name), server_settings={"jit": "off"})
    school = School(owner, app, create_engine(postgres.url("lm_service", name), pool_size=1))
    await school.find()
    yield school
    await school.database.close()
    await app.close()
    await owner.close()


def feed(order: VideoOrder = VideoOrder.NEWEST, after: Any = None, **wanted: Any) -> Any:
    filters = VideoFilter(**{"status": VideoStatus.PUBLIC, **wanted})
    return lambda school: lambda session: videos.list(session, filters, order=order, limit=21, after=after)


QUERIES: dict[str, tuple[Any, str]] = {
    "feed": (feed(), "videos_newest_idx"),
    "feed, later": (feed(after=(NOW, new_id())), "videos_newest_idx"),
    "feed of a subject": (feed(subject=Subject.HISTORY), "videos_pkey"),
    "top rated": (feed(VideoOrder.TOP_RATED), "idx_videos_rating_avg"),
    "top rated, later": (feed(VideoOrder.TOP_RATED, (Decimal("4.5"), new_id())), "idx_videos_rating_avg"),
    "most viewed": (feed(VideoOrder.MOST_VIEWED), "videos_views_idx"),
    "most viewed, later": (feed(VideoOrder.MOST_VIEWED, (Decimal(900), new_id())), "videos_views_idx"),
    "search": (feed(VideoOrder.RELEVANCE, words="word7"), "videos_pkey"),
    "search, later": (feed(VideoOrder.RELEVANCE, (Decimal("0.06"), new_id()), words="word7"), "videos_pkey"),
    "tag": (feed(tags=("tag7",)), "videos_pkey"),
    "own drafts": (
        lambda school: (
            lambda session: videos.list(
                session,
                VideoFilter(VideoStatus.DRAFT, created_by=school.student),
                order=VideoOrder.NEWEST,
                limit=21,
            )
        ),
        "idx_videos_created_by",
    ),
    "video": (lambda school: lambda session: videos.get(session, school.video), "videos_pkey"),
    "comments": (
        lambda school: lambda session: comments.list(session, school.video, limit=21),
        "idx_comments_video_id",
    ),
    "comments, later": (
        lambda school: lambda session: comments.list(session, school.video, limit=21, after=(NOW, new_id())),
        "idx_comments_video_id",
    ),
    "comment": (lambda school: lambda session: comments.get(session, school.comment), "comments_pkey"),
    "flagged": (
        lambda school: lambda session: comments.queue(session, ModerationStatus.FLAGGED, limit=21),
        "comments_unapproved_idx",
    ),
    "flagged videos": (
        lambda school: lambda session: videos.queue(session, ModerationStatus.FLAGGED, limit=21),
        "videos_unapproved_idx",
    ),
    "pending": (
        lambda school: lambda session: comments.queue(session, ModerationStatus.PENDING, limit=21),
        "comments_unapproved_idx",
    ),
    "approved": (
        lambda school: lambda session: comments.queue(session, ModerationStatus.APPROVED, limit=21),
        "comments_oldest_idx",
    ),
    "rating": (
        lambda school: (
            lambda session: ratings.put(session, video_id=school.video, user_id=school.student, stars=3)
        ),
        "",
    ),
    "stars": (lambda school: lambda session: ratings.count_stars(session, school.video), ""),
    "edit": (
        lambda school: lambda session: videos.change(session, school.video, {"title": "New"}),
        "videos_pkey",
    ),
    "verdict": (
        lambda school: lambda session: comments.moderate(session, school.comment, {"is_hidden": True}),
        "comments_pkey",
    ),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_no_query_reads_a_whole_table(school, name):
    query, index = QUERIES[name]
    moderates = name in ("flagged", "flagged videos", "pending", "approved", "edit", "verdict")
    plan = await school.plan(school.moderator if moderates else school.student, query(school))
    assert "Seq Scan" not in plan, plan
    # A subplan in a WITH CHECK is asked once for the one row that is written.
    if name != "rating":
        assert "SubPlan" not in plan, plan
    assert index in plan, plan


async def test_what_one_has_is_counted_by_indexes(school):
    plan = await school.plan(school.student, lambda session: users.stats(session, school.student))
    for table, index in (
        ("videos", "idx_videos_created_by"),
        ("comments", "comments_user_idx"),
        ("ratings", "ratings_user_idx"),
    ):
        assert f"Seq Scan on {table}" not in plan, plan
        assert index in plan, plan


# What search_videos and count_stars ask inside, as the role that they run as.
INSIDE = {
    "words": (
        "SELECT id FROM videos v WHERE v.search @@ websearch_to_tsquery('english', 'word7')"
        " AND (v.status = 'public' OR v.created_by = auth.uid())",
        "idx_videos_search",
    ),
    "tags": ("SELECT id FROM videos v WHERE v.tags @> '{tag7}' AND v.status = 'public'", "videos_tags_idx"),
    "pending comments": (
        "SELECT id FROM comments WHERE moderation_status = 'pending' ORDER BY created_at, id LIMIT 50",
        "comments_unapproved_idx",
    ),
    "pending videos": (
        "SELECT id FROM videos WHERE moderation_status = 'pending' ORDER BY created_at, id LIMIT 50",
        "videos_unapproved_idx",
    ),
    "stars": (
        f"SELECT stars, count(*) FROM ratings r WHERE r.video_id = '{new_id()}' GROUP BY stars",
        "idx_ratings_video_user",
    ),
}


@pytest.mark.parametrize("name", INSIDE)
async def test_the_functions_that_see_more_use_an_index(school, name):
    query, index = INSIDE[name]
    async with school.owner.transaction():
        await school.owner.execute("SET LOCAL ROLE lm_system")
        plan = "\n".join(row[0] for row in await school.owner.fetch(f"EXPLAIN {query}"))
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan


async def page(school, after=None, as_of=None, limit=300, **wanted):
    filters = VideoFilter(VideoStatus.PUBLIC, **wanted)
    find = partial(
        videos.list, wanted=filters, order=VideoOrder.RELEVANCE, limit=limit, after=after, as_of=as_of
    )
    return await school.database.fetch(school.student, find)


async def test_a_search_ranks_the_newest_and_keeps_them_while_others_come(school):
    """A word of every title: the newest of them in order of rank, each once, whatever comes meanwhile."""
    newest = "SELECT id FROM videos WHERE status = 'public' ORDER BY created_at DESC LIMIT $1"
    wanted = {row[0] for row in await school.owner.fetch(newest, videos.RANKED)}
    found, after, as_of = [], None, None
    while rows := await page(school, after, as_of, words="lesson"):
        found += rows
        last = rows[-1]
        after, as_of = (Decimal(str(last.value)), last.video.id), last.newest
        # As good as those, and newer than all of them.
        await school.owner.execute(
            "INSERT INTO videos (id, title, subject, difficulty, topic, created_by, status,"
            " moderation_status)"
            " SELECT uuidv7(), 'word1 of the lesson', 'history', 'beginner', 'topic', $1, 'public',"
            " 'approved'"
            " FROM generate_series(1, 50)",
            school.student,
        )
    await school.owner.execute("DELETE FROM videos WHERE topic = 'topic'")
    assert len(found) == len(wanted) == 1000
    assert {row.video.id for row in found} == wanted
    assert found == sorted(found, key=lambda row: (row.value, row.video.id), reverse=True)


async def test_a_filter_is_asked_before_the_newest_are_taken(school):
    """Not of the newest matches only, which hold a few of them."""
    count = "SELECT count(*) FROM videos WHERE status = 'public' AND subject = 'history'"
    of_history = await school.owner.fetchval(count)
    rows = await page(school, limit=2000, words="lesson", subject=Subject.HISTORY)
    assert len(rows) == min(of_history, videos.RANKED) > 500
    assert {row.video.subject for row in rows} == {Subject.HISTORY}

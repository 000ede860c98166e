"""Transactions that PostgreSQL ends for the sake of others are repeated, a bounded number of times."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from little_monster.db import session as sessions
from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import WriteConflict
from little_monster.db.models import Difficulty, Subject
from little_monster.db.repositories import ratings, videos
from little_monster.db.session import ATTEMPTS, Database, Session
from little_monster.platform.errors import NotFound
from little_monster.platform.services.ratings import rate_video
from little_monster.platform.services.videos import delete_video
from tests.fixtures.videos import show

NewUser = Callable[[], Awaitable[UUID]]

LOCK = text("SELECT pg_advisory_xact_lock(:number)")
CONFLICT = text("DO $$ BEGIN RAISE serialization_failure; END $$")
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest pause before each repetition; none is made."""
    seen: list[float] = []

    def longest(low: float, high: float) -> float:
        seen.append(high)
        return low

    monkeypatch.setattr(sessions.random, "uniform", longest)
    return seen


async def test_a_deadlock_is_repeated(database: Database) -> None:
    both_hold_one = asyncio.Barrier(2)
    tries: list[int] = []

    async def lock_two(first: int, second: int) -> int:
        async def work(session: Session) -> int:
            tries.append(first)
            await session.execute(LOCK, {"number": first})
            if tries.count(first) == 1:
                await both_hold_one.wait()
            await session.execute(LOCK, {"number": second})
            return first

        return await database.run(None, work)

    assert await asyncio.gather(lock_two(701, 702), lock_two(702, 701)) == [701, 702]
    assert len(tries) == 3, "one of the two went on, the other began again"


async def test_a_serialization_failure_is_repeated_as_the_same_user(
    database: Database, user_id: UUID
) -> None:
    both_have_read = asyncio.Barrier(2)
    tries: list[str] = []

    async def append(name: str) -> None:
        async def work(session: Session) -> None:
            tries.append(name)
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            seen = await session.scalar(text("SELECT display_name FROM users"))
            if len(tries) <= 2:
                await both_have_read.wait()
            await session.execute(text("UPDATE users SET display_name = :it"), {"it": f"{seen} {name}"})

        await database.run(user_id, work)

    await asyncio.gather(append("a"), append("b"))
    async with database.session(user_id) as session:
        assert await session.scalar(text("SELECT display_name FROM users")) in ("Test a b", "Test b a")
    assert len(tries) == 3


async def test_what_always_fails_is_given_up(database: Database, pauses: list[float]) -> None:
    tries: list[None] = []

    async def work(session: Session) -> None:
        tries.append(None)
        await session.execute(CONFLICT)

    with pytest.raises(WriteConflict, match="40001"):
        await database.run(None, work)
    assert len(tries) == ATTEMPTS
    assert pauses == [0.02, 0.04, 0.08]


async def test_what_the_first_try_wrote_is_gone(database: Database, new_user: NewUser) -> None:
    author = await new_user()
    tries: list[None] = []

    async def work(session: Session) -> UUID:
        made = await new_video(session, author)
        tries.append(None)
        if len(tries) == 1:
            await session.execute(CONFLICT)
        return made

    kept = await database.run(author, work)
    async with database.session(author) as session:
        rows = await session.scalars(
            text("SELECT id FROM videos WHERE created_by = :author"), {"author": author}
        )
        assert rows.all() == [kept]
    assert len(tries) == 2


@pytest.mark.parametrize("statement", ["SELECT 1 / 0", "SELECT nothing"])
async def test_other_errors_are_not_repeated(database: Database, statement: str) -> None:
    tries: list[None] = []

    async def work(session: Session) -> None:
        tries.append(None)
        await session.execute(text(statement))

    with pytest.raises(DBAPIError):
        await database.run(None, work)
    assert len(tries) == 1


async def new_video(session: Session, author: UUID) -> UUID:
    video = await videos.create(
        session,
        created_by=author,
        title="Cells",
        topic="Walls",
        subject=Subject.BIOLOGY,
        difficulty=Difficulty.BEGINNER,
    )
    await show(session, video.id)
    return video.id


async def waiting(session: Session, count: int) -> None:
    """Return when so many wait for locks."""
    async with asyncio.timeout(10):
        while await session.scalar(WAITING) != count:  # noqa: ASYNC110 - the server sends no event for this
            await asyncio.sleep(0.01)


async def test_who_rates_a_video_that_is_deleted_meanwhile_sees_no_deadlock(
    database: Database, postgres: Any, new_user: NewUser, pauses: list[float], valkey_url: str
) -> None:
    """Who deletes holds the video and waits for a rating; who rates, the other way round."""
    author, early, late = await new_user(), await new_user(), await new_user()
    async with database.session(author) as session:
        video = await new_video(session, author)
    for user, stars in ((early, 1), (late, 2)):
        await rate_video(database, user, video, stars)

    owner, redis = Database(create_engine(postgres.owner_url, pool_size=2)), Redis.from_url(valkey_url)
    async with owner.session(None) as watcher, owner.session(None) as blocker:
        # The cascade comes to this rating first, and is held up with the video in its hands.
        await blocker.execute(text("SELECT FROM ratings WHERE user_id = :id FOR UPDATE"), {"id": early})
        parts: Any = SimpleNamespace(database=database, redis=redis)
        deleting = asyncio.create_task(delete_video(parts, author, video, check=lambda _: None))
        await waiting(watcher, 1)
        rating = asyncio.create_task(rate_video(database, late, video, 5))
        await waiting(watcher, 2)
        await blocker.rollback()
        deleted, rated = await asyncio.gather(deleting, rating, return_exceptions=True)
    await owner.close()
    await redis.aclose()

    assert deleted is None
    assert isinstance(rated, NotFound) or rated.stars == 5  # type: ignore[union-attr]
    assert len(pauses) == 1, "they met"
    async with database.session(late) as session:
        assert await ratings.get(session, video_id=video, user_id=late) is None


async def test_a_session_says_that_it_met_another(database: Database) -> None:
    with pytest.raises(WriteConflict):
        async with database.session(new_id()) as session:
            await session.execute(CONFLICT)

"""What is counted of a video is what a recount gives, whoever writes at the same time."""

import asyncio
import contextlib
import random
from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import new_id
from little_monster.db.errors import DatabaseUnavailable, RowRefused
from little_monster.db.models import (
    Comment,
    Difficulty,
    ModerationStatus,
    Rating,
    Subject,
    Video,
    VideoStatus,
)
from little_monster.db.repositories import comments, ratings, users, videos
from tests.fixtures.videos import show

WRITERS, ROUNDS, STEPS = 20, 4, 12
RECOUNT = """
    SELECT v.id, v.rating_count, v.rating_avg, v.comment_count,
        (SELECT count(*) FROM ratings r WHERE r.video_id = v.id) AS ratings,
        (SELECT coalesce(avg(stars), 0) FROM ratings r WHERE r.video_id = v.id) AS average,
        (SELECT count(*) FROM comments c
            WHERE c.video_id = v.id AND NOT c.is_hidden AND c.moderation_status = 'approved') AS comments
    FROM videos v WHERE v.id = ANY ($1)
"""


@pytest.fixture
async def owner(postgres):
    connection = await asyncpg.connect(postgres.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
def new_video(database):
    async def make(creator: UUID, status: VideoStatus = VideoStatus.PUBLIC) -> Video:
        async with database.session(creator) as session:
            video = await videos.create(
                session,
                created_by=creator,
                title="Cells",
                topic="Walls",
                subject=Subject.BIOLOGY,
                difficulty=Difficulty.BEGINNER,
            )
            await show(session, video.id, status)
            return video

    return make


async def recounted(owner: asyncpg.Connection, *video_ids: UUID) -> list[asyncpg.Record]:
    """Return the videos after checking their counts."""
    rows: list[asyncpg.Record] = await owner.fetch(RECOUNT, [*video_ids])
    assert len(rows) == len(video_ids)
    for row in rows:
        assert (row["rating_count"], row["comment_count"]) == (row["ratings"], row["comments"])
        assert row["rating_avg"] == row["average"]
    return rows


async def test_the_counts_follow_each_change(database, user_id, new_user, new_video, owner):
    video, other = await new_video(user_id), await new_user()

    async def counts() -> tuple[int, float, int]:
        [row] = await recounted(owner, video.id)
        return row["rating_count"], float(row["rating_avg"]), row["comment_count"]

    async def rate(user: UUID, stars: int) -> None:
        async with database.session(user) as session:
            await ratings.put(session, video_id=video.id, user_id=user, stars=stars)

    assert await counts() == (0, 0, 0)
    await rate(user_id, 5)
    await rate(other, 4)
    assert await counts() == (2, 4.5, 0)
    await rate(other, 1)
    assert await counts() == (2, 3, 0)
    async with database.session(user_id) as session:
        assert await ratings.delete(session, video_id=video.id, user_id=user_id)
    assert await counts() == (1, 1, 0)
    async with database.session(other) as session:
        comment = await comments.create(session, video_id=video.id, user_id=other, text="Hi")
        assert comment.moderation_status is ModerationStatus.PENDING
        await comments.judge(session, comment, ModerationStatus.APPROVED)
    assert comment.moderation_status is ModerationStatus.APPROVED
    assert await counts() == (1, 1, 1)
    async with database.session(other) as session:
        assert await comments.set_text(session, comment.id, "Hi!")
    assert await counts() == (1, 1, 0)
    # Publishing and hiding the video rewrites the copies in its comments, and counts nothing.
    async with database.session(user_id) as session:
        await videos.change(session, video.id, {"status": VideoStatus.PRIVATE})
    assert await counts() == (1, 1, 0)
    await owner.execute("DELETE FROM users WHERE id = $1", other)
    assert await counts() == (0, 0, 0)


async def test_a_count_does_not_touch_the_video(database, user_id, new_video, owner):
    video = await new_video(user_id)
    async with database.session(user_id) as session:
        await ratings.put(session, video_id=video.id, user_id=user_id, stars=5)
        await videos.add_views(session, {video.id: 3})
    async with database.session(user_id) as session:
        shown = await videos.get(session, video.id)
    assert (shown.rating_count, shown.view_count, shown.updated_at) == (1, 3, video.updated_at)


async def test_many_writers_at_once(database, user_id, new_user, new_video, owner):
    """20 writers rate, change and take back, comment, edit, hide and delete; 3 videos; 4 rounds."""
    places = [await new_video(user_id) for _ in range(3)]
    writers = [await new_user() for _ in range(WRITERS)]
    await owner.execute("UPDATE users SET role = 'moderator' WHERE id = ANY ($1)", writers[:4])
    for round_ in range(ROUNDS):
        await asyncio.gather(
            *(
                write(database, writer, places, random.Random(100 * round_ + number), moderates=number < 4)
                for number, writer in enumerate(writers)
            )
        )
        rows = await recounted(owner, *(video.id for video in places))
    assert sum(row["rating_count"] for row in rows) > 10
    assert sum(row["comment_count"] for row in rows) > 10
    # Whole accounts go at once, each with ratings and comments on all videos.
    for four in range(0, WRITERS, 4):
        await asyncio.gather(*(leave(database, writer) for writer in writers[four : four + 4]))
    rows = await recounted(owner, *(video.id for video in places))
    assert [(row["rating_count"], row["comment_count"]) for row in rows] == [(0, 0)] * 3


async def write(
    database,
    user: UUID,
    places: list[Video],
    chance: random.Random,
    *,
    moderates: bool,
    steps: int = STEPS,
) -> None:
    for _ in range(steps):
        video_id = chance.choice(places).id
        async with database.session(user) as session:
            step = chance.randrange(6)
            if step <= 1:
                stars = chance.randint(1, 5)
                await ratings.put(session, video_id=video_id, user_id=user, stars=stars)
            elif step == 2:
                await ratings.delete(session, video_id=video_id, user_id=user)
            elif step <= 4:
                comment = await comments.create(session, video_id=video_id, user_id=user, text="Hi")
                await comments.judge(session, comment, chance.choice([*ModerationStatus]))
            else:
                await revise(session, user, video_id, chance, moderates=moderates)


async def revise(session, user: UUID, video_id: UUID, chance: random.Random, *, moderates: bool) -> None:
    seen = await comments.list(session, video_id, limit=20)
    own = [comment for comment in seen if comment.user_id == user]
    if moderates and seen:
        changes = {
            "moderation_status": chance.choice([*ModerationStatus]),
            "is_hidden": chance.random() < 0.2,
        }
        await comments.moderate(session, chance.choice(seen).id, changes)
    elif own and chance.random() < 0.5:
        await comments.set_text(session, chance.choice(own).id, f"Hi {chance.random()}")
    elif own:
        await comments.delete(session, chance.choice(own).id)


async def leave(database, user: UUID) -> None:
    """Delete the account. Two of them may meet on two videos in two orders: one of both has to repeat."""
    with contextlib.suppress(DatabaseUnavailable):
        async with database.session(user) as session:
            return await session.delete(await users.get(session, user))
    return await leave(database, user)


async def test_writers_meet_a_video_that_comes_and_goes(database, user_id, new_user, new_video, owner):
    """What others write meanwhile is refused or counted, and each comment knows how the video stands."""
    video, writers = await new_video(user_id), [await new_user() for _ in range(8)]

    async def write_on(user: UUID, chance: random.Random) -> None:
        for _ in range(STEPS):
            with contextlib.suppress(RowRefused, DatabaseUnavailable):
                await write(database, user, [video], chance, moderates=False, steps=1)

    async def blink() -> None:
        for status in (VideoStatus.PRIVATE, VideoStatus.PUBLIC) * 10:
            with contextlib.suppress(DatabaseUnavailable):
                async with database.session(user_id) as session:
                    await show(session, video.id, status)

    await asyncio.gather(
        blink(), *(write_on(user, random.Random(number)) for number, user in enumerate(writers))
    )
    [row] = await recounted(owner, video.id)
    assert row["rating_count"] > 0
    untrue = """
        SELECT count(*) FROM comments c JOIN videos v ON v.id = c.video_id
        WHERE (c.video_status, c.video_created_by) <> (v.status, v.created_by)
    """
    assert await owner.fetchval(untrue) == 0


async def test_a_statement_with_many_rows_counts_all(database, user_id, new_user, new_video, owner):
    one, two = await new_video(user_id), await new_video(user_id)
    async with database.session(user_id) as session:
        for video in (one, two):
            session.add(Rating(video_id=video.id, user_id=user_id, stars=3))
            for _ in range(3):
                session.add(Comment(video_id=video.id, user_id=user_id, text="Hi"))
    await owner.execute(
        "UPDATE comments SET moderation_status = 'approved' WHERE video_id = ANY ($1)", [one.id, two.id]
    )
    rows = await recounted(owner, one.id, two.id)
    assert [(row["rating_count"], row["comment_count"]) for row in rows] == [(1, 3)] * 2


async def test_views_of_videos_that_are_gone_are_dropped(database, user_id, new_video):
    video = await new_video(user_id)
    async with database.session(None) as session:
        assert await videos.add_views(session, {video.id: 2, new_id(): 5}) == 1
    async with database.session(user_id) as session:
        assert (await videos.get(session, video.id)).view_count == 2

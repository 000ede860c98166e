"""Ratings, one a user and video. Triggers keep the video's `rating_avg` and `rating_count`."""

from uuid import UUID

from sqlalchemy import BigInteger, column, func, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.dialects.postgresql import insert

from little_monster.db.base import new_id
from little_monster.db.models.ratings import Rating
from little_monster.db.repositories.rows import changed, refusals
from little_monster.db.session import Session


async def put(session: Session, *, video_id: UUID, user_id: UUID, stars: int) -> Rating:
    """Insert the user's rating of the video, or change it where there is one.

    Raises:
        RowRefused: the user does not see the video, or no longer.
    """
    new = insert(Rating).values(id=new_id(), video_id=video_id, user_id=user_id, stars=stars)
    query = new.on_conflict_do_update(
        index_elements=[Rating.video_id, Rating.user_id], set_={"stars": new.excluded.stars}
    ).returning(Rating)
    with refusals():
        rating = await session.scalar(query, execution_options={"populate_existing": True})
    assert rating is not None, "inserted or changed, but there"
    return rating


async def get(session: Session, *, video_id: UUID, user_id: UUID) -> Rating | None:
    """Return the user's rating of the video; None also for somebody else's."""
    query = select(Rating).where(Rating.video_id == video_id, Rating.user_id == user_id)
    return await session.scalar(query)


async def count_stars(session: Session, video_id: UUID) -> dict[int, int]:
    """Return how many gave how many stars (1 to 5, all of them) to a video that the user sees."""
    counted = func.content.count_stars(video_id).table_valued(
        column("stars", BigInteger()), column("count", BigInteger()), name="counted"
    )
    rows = await session.execute(select(counted.c.stars, counted.c["count"]))
    return dict.fromkeys(range(1, 6), 0) | {row[0]: row[1] for row in rows}


async def delete(session: Session, *, video_id: UUID, user_id: UUID) -> bool:
    """Take the user's rating of the video back; False when there is none."""
    query = sql_delete(Rating).where(Rating.video_id == video_id, Rating.user_id == user_id)
    return await changed(session, query) == 1

"""Study videos and the feed. Triggers and `content.add_views` keep what is counted of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Double, Select, Text, Uuid, column, func, literal, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql.selectable import TableValuedAlias

from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, Video, VideoStatus
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import Rows, changed, highest_first, insert
from little_monster.db.session import Database, Session

_BY_ID = ByKey(Video)


class VideoOrder(StrEnum):
    """Orders of the feed, the first first."""

    NEWEST = "newest"
    TOP_RATED = "top_rated"
    MOST_VIEWED = "most_viewed"
    RELEVANCE = "relevance"


@dataclass(frozen=True, slots=True)
class VideoFilter:
    """What to list: None and empty mean all. `words` is a search as people write it (`cell -wall "light
    reaction"`), over title and topic; a video has all of `tags`."""

    status: VideoStatus | None = None
    created_by: UUID | None = None
    subject: Subject | None = None
    difficulty: Difficulty | None = None
    words: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A video and what its place in the list rests on: when it was made, its average of stars, its views, or
    its rank."""

    video: Video
    value: datetime | Decimal | int | float


async def create(
    session: Session,
    *,
    created_by: UUID,
    title: str,
    topic: str,
    subject: Subject,
    difficulty: Difficulty,
    tags: Sequence[str] = (),
) -> Video:
    """Insert a draft."""
    row = Video(
        created_by=created_by, title=title, topic=topic, subject=subject, difficulty=difficulty, tags=[*tags]
    )
    return await insert(session, row)


async def get(session: Session, video_id: UUID) -> Video | None:
    """Return the video; None also for one that the user may not see."""
    return await session.get(Video, video_id)


async def lock(session: Session, video_id: UUID) -> Video | None:
    """Return the video if the user may change it, and let nobody else change it, comment on it or rate it
    before this transaction ends."""
    # The lock that a change of `status` needs, from the start: to wait for it with a weaker one in hand would
    # be a deadlock with who comments, and counts it.
    return await session.get(Video, video_id, with_for_update=True, populate_existing=True)


async def read(database: Database, viewer: UUID, video_id: UUID) -> Video | None:
    """Return the video as `get` does, in a transaction of its own."""
    return await database.read(viewer, _BY_ID, video_id)


async def list(
    session: Session,
    wanted: VideoFilter,
    *,
    order: VideoOrder,
    limit: int,
    after: tuple[datetime | Decimal, UUID] | None = None,
) -> Rows[Listed]:
    """Return at most `limit` videos behind `after` (`value`, as a Decimal where it is a number, and id of the
    last one seen in the same order). `RELEVANCE` needs `words`.
    """
    query: Select[Any] = select(Video)
    rank: Any = None
    if wanted.words is not None or wanted.tags:
        found = _found(wanted, ranked=order is VideoOrder.RELEVANCE)
        query = query.join(found, found.c.id == Video.id)
        rank = found.c.rank
    value = {
        VideoOrder.NEWEST: Video.created_at,
        VideoOrder.TOP_RATED: Video.rating_avg,
        VideoOrder.MOST_VIEWED: Video.view_count,
        VideoOrder.RELEVANCE: rank,
    }[order]
    query = _filtered(query, wanted).add_columns(value.label("value"))
    query = highest_first(query, value, Video.id, limit=limit, after=after)
    return [Listed(row.Video, row.value) for row in await session.execute(query)]


async def change(session: Session, video_id: UUID, changes: Mapping[str, Any]) -> Video | None:
    """Set columns of the video and return it; None when there is none that the user may change."""
    query = update(Video).where(Video.id == video_id).values(dict(changes)).returning(Video)
    options = {"synchronize_session": False, "populate_existing": True}
    return await session.scalar(query, execution_options=options)


async def delete(session: Session, video_id: UUID) -> bool:
    """Delete the video with its comments and ratings; False when there is none that the user may delete."""
    return await changed(session, sql_delete(Video).where(Video.id == video_id)) == 1


async def add_views(session: Session, counts: Mapping[UUID, int]) -> int:
    """Add views to videos, whosever they are; return how many of the videos are still there."""
    by_id = {str(video_id): count for video_id, count in counts.items()}
    added: int = (await session.execute(select(func.content.add_views(literal(by_id, JSONB()))))).scalar_one()
    return added


def _found(wanted: VideoFilter, *, ranked: bool) -> TableValuedAlias:
    """Return what an index finds of words and tags, past row level security, which allows it none."""
    tags = literal([*wanted.tags] or None, ARRAY(Text()))
    function = func.content.find_videos(literal(wanted.words, Text()), tags, ranked)
    return function.table_valued(column("id", Uuid()), column("rank", Double()), name="found")


def _filtered(query: Select[Any], wanted: VideoFilter) -> Select[Any]:
    columns = {
        Video.status: wanted.status,
        Video.created_by: wanted.created_by,
        Video.subject: wanted.subject,
        Video.difficulty: wanted.difficulty,
    }
    return query.where(*(column == value for column, value in columns.items() if value is not None))

"""Study videos and the feed. Triggers and `content.add_views` keep what is counted of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    TIMESTAMP,
    Double,
    Integer,
    Numeric,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy import delete as sql_delete
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, Video, VideoStatus
from little_monster.db.policies import search
from little_monster.db.reads import ByKey, ReadQuery
from little_monster.db.repositories.rows import (
    After,
    Rows,
    changed,
    highest_page,
    insert,
    oldest_first,
    page_values,
)
from little_monster.db.session import Database, Session, Source

RANKED = search.RANKED

_BY_ID = ByKey(Video)
# What moderation reads, as the trigger `guard_video` compares it.
_SAID = ("title", "topic", "tags", "script_summary", "key_points")


class VideoOrder(StrEnum):
    """Orders of the feed, the first first."""

    NEWEST = "newest"
    TOP_RATED = "top_rated"
    MOST_VIEWED = "most_viewed"
    RELEVANCE = "relevance"


_VALUES: dict[VideoOrder, Any] = {
    VideoOrder.NEWEST: Video.created_at,
    VideoOrder.TOP_RATED: Video.rating_avg,
    VideoOrder.MOST_VIEWED: Video.view_count,
}


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
    its rank. `newest` is when the newest of the ranked videos was made, None in other orders."""

    video: Video
    value: datetime | Decimal | int | float
    newest: datetime | None = None


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


async def get(session: Source, video_id: UUID) -> Video | None:
    """Return the video; None also for one that the user may not see."""
    return await session.get(Video, video_id)


async def lock(session: Session, video_id: UUID) -> Video | None:
    """Return the video if the user may change it, and let nobody else change it, comment on it or rate it
    before this transaction ends."""
    # The lock that a change of `status` needs, from the start: to wait for it with a weaker one in hand would
    # be a deadlock with who comments, and counts it.
    return await session.get(Video, video_id, with_for_update=True, populate_existing=True)


async def read(database: Database, viewer: UUID, video_id: UUID, *, fresh: bool) -> Video | None:
    """Return the video as `get` does, in a transaction of its own."""
    return await database.read(viewer, _BY_ID, video_id, fresh=fresh)


async def list(
    session: Source,
    wanted: VideoFilter,
    *,
    order: VideoOrder,
    limit: int,
    after: tuple[datetime | Decimal, UUID] | None = None,
    as_of: datetime | None = None,
) -> Rows[Listed]:
    """Return at most `limit` videos behind `after` (`value`, as a Decimal where it is a number, and id of the
    last one seen in the same order).

    `RELEVANCE` needs `words`, and ranks the newest `RANKED` videos that are found; with the `as_of` of the
    first page those that were the newest then, so that new videos push none out between two pages.
    """
    seen = after and (_as_value(order, after[0]), after[1])
    if _is_plain(wanted):
        columns = _given(status=wanted.status, created_by=wanted.created_by)
        found = await _plain(order, after is not None, *columns).rows(
            session, page_values(limit, seen, **columns)
        )
    else:
        found = await _search(order).rows(session, _search_values(wanted, order, limit, seen, as_of))
    return [Listed(*row) for row in found]


async def change(session: Session, video_id: UUID, changes: Mapping[str, Any]) -> Video | None:
    """Set columns of the video and return it; None when there is none that the user may change.

    A text that is new, or that is to be public for the first time, waits for `judge`, out of sight.
    """
    query = update(Video).where(Video.id == video_id).values(dict(changes)).returning(Video)
    options = {"synchronize_session": False, "populate_existing": True}
    return await session.scalar(query, execution_options=options)


def said(video: Video, changes: Mapping[str, Any] | None = None) -> str:
    """Return all that the video says to who may see it, also as it would be after `changes`."""
    row = {name: getattr(video, name) for name in _SAID} | dict(changes or {})
    lines = [row["title"], row["topic"], ", ".join(row["tags"]), row["script_summary"], *row["key_points"]]
    return "\n".join(line for line in lines if line)


async def judge(session: Session, video: Video, status: ModerationStatus, reason: str | None) -> bool:
    """Write what moderation says of the video as it was read; False when it no longer waits with that text.
    An approved one is public from then on."""
    seen = literal(video.updated_at, TIMESTAMP(timezone=True))
    call = func.content.judge_video(video.id, seen, _verdict(status), literal(reason, Text()))
    judged: bool = (await session.execute(select(call))).scalar_one()
    return judged


async def moderate(
    session: Session, video_id: UUID, status: ModerationStatus, reason: str | None
) -> Video | None:
    """Write what a moderator says, and return the video; None when there is none, or no moderator asks."""
    call = func.content.moderate_video(video_id, _verdict(status), literal(reason, Text()))
    if not (await session.execute(select(call))).scalar_one():
        return None
    return await session.get(Video, video_id, populate_existing=True)


async def queue(
    session: Session, status: ModerationStatus, *, limit: int, after: After = None
) -> Rows[Video]:
    """Return at most `limit` videos with this verdict, oldest first, behind `after`; for a moderator."""
    # Written into the statement, as the planner must know it to choose the index of what is not approved.
    wanted = literal(status, Video.moderation_status.type, literal_execute=True)
    query = select(Video).where(Video.moderation_status == wanted)
    query = oldest_first(query, Video.created_at, Video.id, limit=limit, after=after)
    return [*await session.scalars(query)]


async def delete(session: Session, video_id: UUID) -> bool:
    """Delete the video with its comments and ratings; False when there is none that the user may delete."""
    return await changed(session, sql_delete(Video).where(Video.id == video_id)) == 1


async def add_views(session: Session, counts: Mapping[UUID, int]) -> int:
    """Add views to videos, whosever they are; return how many of the videos are still there."""
    by_id = {str(video_id): count for video_id, count in counts.items()}
    added: int = (await session.execute(select(func.content.add_views(literal(by_id, JSONB()))))).scalar_one()
    return added


def _verdict(status: ModerationStatus) -> Any:
    return literal(status, Video.moderation_status.type)


def _is_plain(wanted: VideoFilter) -> bool:
    """Say whether the table's own indexes by user and by order find the videos under row level security."""
    filtered = (wanted.words, wanted.tags, wanted.subject, wanted.difficulty)
    return not any(filtered) and (wanted.status is VideoStatus.PUBLIC or wanted.created_by is not None)


def _as_value(order: VideoOrder, seen: Any) -> Any:
    """Return a number of a cursor as the type of the column that it is compared with."""
    return int(seen) if order is VideoOrder.MOST_VIEWED else seen


def _given(**columns: Any) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if value is not None}


@cache
def _plain(order: VideoOrder, later: bool, *columns: str) -> ReadQuery:
    value = _VALUES[order]
    query = select(Video, value.label("value"), null().label("newest"))
    query = query.where(*(getattr(Video, name) == bindparam(name) for name in columns))
    return highest_page(query, value, Video.id, later=later)


_SEARCHED: dict[str, Any] = {
    "words": Text(),
    "labels": ARRAY(Text()),
    "status": Video.status.type,
    "created_by": Uuid(),
    "subject": Video.subject.type,
    "difficulty": Video.difficulty.type,
    "ordering": Text(),
    "seen_time": Video.created_at.type,
    "seen_number": Numeric(),
    "seen_id": Uuid(),
    "as_of": Video.created_at.type,
    "limit": Integer(),
}
"""What `content.search_videos` takes."""


@cache
def _search(order: VideoOrder) -> ReadQuery:
    """Return what an index finds, past row level security, which allows it none."""
    arguments = [bindparam(name, type_=type_) for name, type_ in _SEARCHED.items()]
    columns: Any = column("id", Uuid()), column("rank", Double()), column("newest", Video.created_at.type)
    found = func.content.search_videos(*arguments).table_valued(*columns, name="found")
    value = found.c.rank if order is VideoOrder.RELEVANCE else _VALUES[order]
    query = select(Video, value.label("value"), found.c.newest).join(found, found.c.id == Video.id)
    return ReadQuery(query.order_by(value.desc(), Video.id.desc()))


def _search_values(
    wanted: VideoFilter,
    order: VideoOrder,
    limit: int,
    after: tuple[Any, UUID] | None,
    as_of: datetime | None,
) -> dict[str, Any]:
    seen, seen_id = after or (None, None)
    by_time = order is VideoOrder.NEWEST
    return {
        "words": wanted.words,
        "labels": [*wanted.tags] or None,
        "status": wanted.status,
        "created_by": wanted.created_by,
        "subject": wanted.subject,
        "difficulty": wanted.difficulty,
        "ordering": order.value,
        "seen_time": seen if by_time else None,
        "seen_number": None if by_time else seen,
        "seen_id": seen_id,
        "as_of": as_of,
        "limit": limit,
    }

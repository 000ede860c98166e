"""Comments. A new one, and one whose text changed, waits for the verdict of moderation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, func, literal, select, update
from sqlalchemy import delete as sql_delete

from little_monster.db.models.comments import Comment
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import (
    After,
    Rows,
    changed,
    insert,
    locked,
    newest_first,
    oldest_first,
    refusals,
)
from little_monster.db.session import Database, Session

_BY_ID = ByKey(Comment)


async def create(session: Session, *, video_id: UUID, user_id: UUID, text: str) -> Comment:
    """Insert a comment that waits for its verdict.

    Raises:
        RowRefused: the user does not see the video, or no longer.
    """
    with refusals():
        return await insert(session, Comment(video_id=video_id, user_id=user_id, text=text))


async def get(session: Session, comment_id: UUID) -> Comment | None:
    """Return the comment; None also for one that the user may not see."""
    return await session.get(Comment, comment_id)


async def lock(session: Session, comment_id: UUID) -> Comment | None:
    """Return the comment if the user may change it, and let nobody else change it before this transaction
    ends."""
    return await locked(session, Comment, comment_id)


async def read(database: Database, viewer: UUID, comment_id: UUID) -> Comment | None:
    """Return the comment as `get` does, in a transaction of its own."""
    return await database.read(viewer, _BY_ID, comment_id)


async def list(session: Session, video_id: UUID, *, limit: int, after: After = None) -> Rows[Comment]:
    """Return at most `limit` comments that the user sees, newest first, behind `after` (`key` of the last one
    seen)."""
    query = select(Comment).where(Comment.video_id == video_id)
    query = newest_first(query, Comment.created_at, Comment.id, limit=limit, after=after)
    return [*await session.scalars(query)]


async def queue(
    session: Session, status: ModerationStatus, *, limit: int, after: After = None
) -> Rows[Comment]:
    """Return at most `limit` comments of this status on all videos, oldest first, behind `after`; for a
    moderator."""
    # Written into the statement, as the planner must know it to choose the index of what is not approved.
    wanted = literal(status, Comment.moderation_status.type, literal_execute=True)
    query = select(Comment).where(Comment.moderation_status == wanted)
    query = oldest_first(query, Comment.created_at, Comment.id, limit=limit, after=after)
    return [*await session.scalars(query)]


def key(row: Comment) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list` and `queue`."""
    return row.created_at, row.id


async def set_text(session: Session, comment_id: UUID, text: str) -> Comment | None:
    """Change the text of the user's own comment and return it, which then waits again."""
    return await _change(session, comment_id, {"text": text})


async def judge(
    session: Session, comment: Comment, status: ModerationStatus, *, reason: str | None = None
) -> None:
    """Write what moderation says of the user's own comment, unless it no longer waits with this text."""
    await judge_text(session, comment.id, comment.text, status, reason)
    await session.refresh(comment)


async def judge_text(
    session: Session, comment_id: UUID, text: str, status: ModerationStatus, reason: str | None
) -> bool:
    """Write what moderation says of this text; False when the user's own comment no longer waits with it."""
    verdict = literal(status, Comment.moderation_status.type)
    call = func.content.judge_comment(comment_id, text, verdict, literal(reason, Text()))
    judged: bool = (await session.execute(select(call))).scalar_one()
    return judged


async def moderate(session: Session, comment_id: UUID, changes: Mapping[str, Any]) -> Comment | None:
    """Set `moderation_status`, `moderation_reason` or `is_hidden`, as a moderator, and return the comment."""
    return await _change(session, comment_id, changes)


async def delete(session: Session, comment_id: UUID) -> bool:
    """Delete the comment; False when there is none that the user may delete."""
    return await changed(session, sql_delete(Comment).where(Comment.id == comment_id)) == 1


async def _change(session: Session, comment_id: UUID, changes: Mapping[str, Any]) -> Comment | None:
    query = update(Comment).where(Comment.id == comment_id).values(dict(changes)).returning(Comment)
    options = {"synchronize_session": False, "populate_existing": True}
    return await session.scalar(query, execution_options=options)

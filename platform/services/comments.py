"""Comments: written, moderated before others see them, and looked through by moderators."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from little_monster.db.errors import RowRefused
from little_monster.db.models.comments import Comment
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.repositories import comments
from little_monster.db.session import Database, Session
from little_monster.platform.errors import NotFound
from little_monster.platform.permissions import MODERATOR, require_role
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal
from little_monster.platform.services.moderation import Verdict, moderate
from little_monster.platform.services.videos import no_video, require_video

After = tuple[datetime, UUID] | None
Check = Callable[[Comment], None]
"""Raises when a comment is not what the caller means to change."""


async def create_comment(resources: Resources, author: UUID, video_id: UUID, text: str) -> Comment:
    """Store a comment with the verdict of moderation.

    Raises:
        NotFound: there is no such video, or the author may not see it.
    """
    # The insert asks again; moderation costs more than this.
    async with resources.database.session(author) as session:
        await require_video(session, video_id)
    verdict = await _moderate(resources, text)

    async def create(session: Session) -> Comment:
        comment = await comments.create(session, video_id=video_id, user_id=author, text=text)
        await _judge(session, comment, verdict)
        return comment

    try:
        return await resources.database.run(author, create)
    except RowRefused:
        raise no_video() from None


async def list_comments(
    database: Database, viewer: UUID, video_id: UUID, *, limit: int, after: After
) -> list[Comment]:
    """Return at most `limit` comments that the viewer sees, newest first, behind `after`.

    Raises:
        NotFound: there is no such video, or the viewer may not see it.
    """
    async with database.session(viewer) as session:
        await require_video(session, video_id)
        return await comments.list(session, video_id, limit=limit, after=after)


async def read_comment(database: Database, viewer: UUID, comment_id: UUID) -> Comment:
    """Return the comment.

    Raises:
        NotFound: there is none, or the viewer may not see it.
    """
    comment = await comments.read(database, viewer, comment_id)
    if comment is None:
        raise no_comment()
    return comment


async def change_comment(
    resources: Resources, author: UUID, comment_id: UUID, text: str, *, check: Check
) -> Comment:
    """Change the text of one's own comment, which is moderated anew.

    Raises:
        NotFound: there is none, or it is somebody else's.
        ProblemError: what `check` raises of the comment as it is now.
    """
    comment = await read_comment(resources.database, author, comment_id)
    if comment.user_id != author:
        raise no_comment()
    # Below it is asked again; moderation costs more than this.
    check(comment)
    if comment.text == text:
        return comment
    verdict = await _moderate(resources, text)

    async def change(session: Session) -> Comment:
        await _lock(session, comment_id, check)
        changed = await comments.set_text(session, comment_id, text)
        if changed is None:
            raise no_comment()
        await _judge(session, changed, verdict)
        return changed

    return await resources.database.run(author, change)


async def delete_comment(database: Database, user_id: UUID, comment_id: UUID, *, check: Check) -> None:
    """Delete one's own comment, or as a moderator anybody's.

    Raises:
        NotFound: there is none, or the user may not delete it.
        ProblemError: what `check` raises of the comment as it is now.
    """

    async def erase(session: Session) -> None:
        await _lock(session, comment_id, check)
        await comments.delete(session, comment_id)

    await database.run(user_id, erase)


async def list_queue(
    database: Database, moderator: Principal, status: ModerationStatus, *, limit: int, after: After
) -> list[Comment]:
    """Return at most `limit` comments of this status on all videos, oldest first, behind `after`.

    Raises:
        Forbidden: this needs a moderator.
    """
    require_role(moderator, MODERATOR)
    async with database.session(moderator.user_id) as session:
        return await comments.queue(session, status, limit=limit, after=after)


async def moderate_comment(
    database: Database, moderator: Principal, comment_id: UUID, changes: Mapping[str, Any], *, check: Check
) -> Comment:
    """Set `moderation_status`, `moderation_reason` or `is_hidden` and return the comment.

    Raises:
        Forbidden: this needs a moderator.
        NotFound: there is none.
        ProblemError: what `check` raises of the comment as it is now.
    """
    require_role(moderator, MODERATOR)

    async def moderate(session: Session) -> Comment | None:
        await _lock(session, comment_id, check)
        return await comments.moderate(session, comment_id, changes)

    changed = await database.run(moderator.user_id, moderate)
    if changed is None:
        raise no_comment()
    return changed


def no_comment() -> NotFound:
    """Return the error for a comment that is not there, or not for this user."""
    return NotFound("There is no such comment.", code="comment_not_found")


async def _lock(session: Session, comment_id: UUID, check: Check) -> None:
    comment = await comments.lock(session, comment_id)
    if comment is None:
        raise no_comment()
    check(comment)


async def _judge(session: Session, comment: Comment, verdict: Verdict) -> None:
    if verdict.status is not ModerationStatus.PENDING:
        await comments.judge(session, comment, verdict.status, reason=verdict.reason)


async def _moderate(resources: Resources, text: str) -> Verdict:
    timeout_s = resources.settings.content.moderation_timeout_s
    return await moderate(resources.moderator, text, timeout_s=timeout_s)

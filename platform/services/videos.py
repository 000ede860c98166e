"""Study videos: the feed, one's own drafts, and what is done with one video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, Video, VideoStatus
from little_monster.db.repositories import videos
from little_monster.db.repositories.videos import Listed, VideoFilter, VideoOrder
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, NotFound
from little_monster.platform.permissions import MODERATOR, has_role
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal
from little_monster.platform.services import feed
from little_monster.platform.services.views import count_view

Check = Callable[[Video], None]
"""Raises when a video is not what the caller means to change."""


async def create_video(
    database: Database,
    creator: UUID,
    *,
    title: str,
    topic: str,
    subject: Subject,
    difficulty: Difficulty,
    tags: Sequence[str],
) -> Video:
    """Make a draft: what a video is to be about, and nothing yet to watch."""
    async with database.session(creator) as session:
        return await videos.create(
            session,
            created_by=creator,
            title=title,
            topic=topic,
            subject=subject,
            difficulty=difficulty,
            tags=tags,
        )


async def list_videos(
    database: Database,
    viewer: Principal,
    wanted: VideoFilter,
    *,
    order: VideoOrder,
    limit: int,
    after: tuple[datetime | Decimal, UUID] | None,
    as_of: datetime | None,
) -> list[Listed]:
    """Return at most `limit` videos behind `after`, in the order that was `as_of`.

    What is not public is one's own, unless somebody's is asked for, which only moderators see.
    """
    if wanted.status is not VideoStatus.PUBLIC and not has_role(viewer, MODERATOR):
        wanted = replace(wanted, created_by=wanted.created_by or viewer.user_id)
    async with database.reading(viewer.user_id) as reading:
        return await videos.list(reading, wanted, order=order, limit=limit, after=after, as_of=as_of)


async def read_video(resources: Resources, viewer: UUID, video_id: UUID) -> Video:
    """Return the video, and count the view of a public one by anybody but its creator.

    Raises:
        NotFound: there is none, or the viewer may not see it.
    """
    video = await videos.read(resources.database, viewer, video_id)
    if video is None:
        raise no_video()
    if video.status is VideoStatus.PUBLIC and video.created_by != viewer:
        await count_view(resources.redis, video_id)
    return video


async def change_video(
    resources: Resources, user_id: UUID, video_id: UUID, changes: Mapping[str, Any], *, check: Check
) -> Video:
    """Change columns of the video and return it.

    Raises:
        NotFound: there is none, or the user may not change it.
        Conflict: `video_not_ready`, it cannot be public before there is something to watch.
        ProblemError: what `check` raises of the video as it is now.
    """

    async def change(session: Session) -> tuple[VideoStatus, Video | None]:
        video = await _lock(session, video_id, check)
        before = video.status
        if changes.get("status") is VideoStatus.PUBLIC and video.video_url is None:
            raise Conflict("There is nothing to watch yet.", code="video_not_ready")
        new = {name: value for name, value in changes.items() if getattr(video, name) != value}
        return before, await videos.change(session, video_id, new) if new else video

    before, changed = await resources.database.run(user_id, change)
    if changed is None:
        raise no_video()
    if VideoStatus.PUBLIC in (before, changed.status):
        await feed.forget(resources.redis)
    return changed


async def delete_video(resources: Resources, user_id: UUID, video_id: UUID, *, check: Check) -> None:
    """Delete the video with its comments and ratings.

    Raises:
        NotFound: there is none, or the user may not delete it.
        ProblemError: what `check` raises of the video as it is now.
    """

    async def erase(session: Session) -> None:
        await _lock(session, video_id, check)
        await videos.delete(session, video_id)

    await resources.database.run(user_id, erase)
    await feed.forget(resources.redis)


async def require_video(session: Session, video_id: UUID) -> Video:
    """Return the video.

    Raises:
        NotFound: there is none, or the session's user may not see it.
    """
    video = await videos.get(session, video_id)
    if video is None:
        raise no_video()
    return video


def no_video() -> NotFound:
    """Return the error for a video that is not there, or not for this user."""
    return NotFound("There is no such video.", code="video_not_found")


async def _lock(session: Session, video_id: UUID, check: Check) -> Video:
    video = await videos.lock(session, video_id)
    if video is None:
        raise no_video()
    check(video)
    return video

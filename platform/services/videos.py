"""Study videos: the feed, one's own drafts, and what is done with one video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, Video, VideoStatus
from little_monster.db.repositories import videos
from little_monster.db.repositories.videos import Listed, VideoFilter, VideoOrder
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, NotFound
from little_monster.platform.permissions import MODERATOR, has_role, require_role
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal
from little_monster.platform.services import feed
from little_monster.platform.services.moderation import Verdict, moderate
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
    fresh: bool = False,
) -> list[Listed]:
    """Return at most `limit` videos behind `after`, in the order that was `as_of`; `fresh` when the answer is
    kept for others.

    What is not public is one's own, unless somebody's is asked for, which only moderators see.
    """
    if wanted.status is not VideoStatus.PUBLIC and not has_role(viewer, MODERATOR):
        wanted = replace(wanted, created_by=wanted.created_by or viewer.user_id)
    find = partial(videos.list, wanted=wanted, order=order, limit=limit, after=after, as_of=as_of)
    return await database.fetch(viewer.user_id, find, fresh=fresh)


async def read_video(resources: Resources, viewer: UUID, video_id: UUID) -> Video:
    """Return the video, and count the view of a public one by anybody but its creator.

    Raises:
        NotFound: there is none, or the viewer may not see it.
    """
    video = await videos.read(resources.database, viewer, video_id, fresh=False)
    if video is None:
        raise no_video()
    if video.status is VideoStatus.PUBLIC and video.created_by != viewer:
        await count_view(resources.redis, video_id)
    return video


async def change_video(
    resources: Resources, user_id: UUID, video_id: UUID, changes: Mapping[str, Any], *, check: Check
) -> Video:
    """Change columns of the video and return it. What is to be public is moderated, and is public only when
    it is approved; a draft says what it likes.

    Raises:
        NotFound: there is none, or the user may not change it.
        Conflict: `video_not_ready`, it cannot be public before there is something to watch;
            `video_rejected`, a moderator does not want this text to be.
        ProblemError: what `check` raises of the video as it is now.
    """
    video = await videos.read(resources.database, user_id, video_id, fresh=True)
    if video is None:
        raise no_video()
    judged, verdict = videos.said(video, changes), None
    if _needs_verdict(video, changes):
        # Below it is asked again; moderation costs more than this.
        async with resources.database.session(user_id) as session:
            await _admit(session, video_id, changes, check)
        verdict = await _moderate(resources, judged)

    async def change(session: Session) -> tuple[VideoStatus, Video | None]:
        video = await _admit(session, video_id, changes, check)
        before = video.status
        # Who says the status that a video has takes back that it is to be public.
        asked = video.moderation_status in (ModerationStatus.PENDING, ModerationStatus.FLAGGED)
        new = {
            name: value
            for name, value in changes.items()
            if getattr(video, name) != value or (asked and name == "status")
        }
        changed = await videos.change(session, video_id, new) if new else video
        if changed is not None and verdict is not None and videos.said(changed) == judged:
            await _judge(session, changed, verdict)
        return before, changed

    before, changed = await resources.database.run(user_id, change)
    if changed is None:
        raise no_video()
    if VideoStatus.PUBLIC in (before, changed.status):
        await feed.forget(resources.redis)
    return changed


async def list_queue(
    database: Database,
    moderator: Principal,
    status: ModerationStatus,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> list[Video]:
    """Return at most `limit` videos with this verdict, oldest first, behind `after`.

    Raises:
        Forbidden: this needs a moderator.
    """
    require_role(moderator, MODERATOR)
    async with database.session(moderator.user_id) as session:
        return await videos.queue(session, status, limit=limit, after=after)


async def moderate_video(
    resources: Resources,
    moderator: Principal,
    video_id: UUID,
    status: ModerationStatus,
    reason: str | None,
    *,
    check: Check,
) -> Video:
    """Approve the video, which is public then if its creator asks for it, or reject it; return it.

    Raises:
        Forbidden: this needs a moderator.
        NotFound: there is none.
        ProblemError: what `check` raises of the video as it is now.
    """
    require_role(moderator, MODERATOR)

    async def decide(session: Session) -> Video | None:
        await _lock(session, video_id, check)
        return await videos.moderate(session, video_id, status, reason)

    decided = await resources.database.run(moderator.user_id, decide)
    if decided is None:
        raise no_video()
    await feed.forget(resources.redis)
    return decided


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


async def _admit(session: Session, video_id: UUID, changes: Mapping[str, Any], check: Check) -> Video:
    """Return the video, locked, if it may be changed so."""
    video = await _lock(session, video_id, check)
    if changes.get("status") is VideoStatus.PUBLIC:
        if video.video_url is None:
            raise Conflict("There is nothing to watch yet.", code="video_not_ready")
        rejected = video.moderation_status is ModerationStatus.REJECTED
        if rejected and videos.said(video, changes) == videos.said(video):
            raise Conflict("A moderator has rejected what the video says.", code="video_rejected")
    return video


def _needs_verdict(video: Video, changes: Mapping[str, Any]) -> bool:
    """Say whether the changed video is to be public with a text that nobody has judged."""
    if "status" in changes:
        asks = changes["status"] is VideoStatus.PUBLIC
    else:
        waits = video.moderation_status in (ModerationStatus.PENDING, ModerationStatus.FLAGGED)
        asks = waits or video.status is VideoStatus.PUBLIC
    unjudged = video.moderation_status in (None, ModerationStatus.PENDING)
    return asks and (unjudged or videos.said(video, changes) != videos.said(video))


async def _judge(session: Session, video: Video, verdict: Verdict) -> None:
    if verdict.status is not ModerationStatus.PENDING:
        await videos.judge(session, video, verdict.status, verdict.reason)
        await session.refresh(video)


async def _moderate(resources: Resources, text: str) -> Verdict:
    timeout_s = resources.settings.content.moderation_timeout_s
    return await moderate(resources.moderator, text, timeout_s=timeout_s)

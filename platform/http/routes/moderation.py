"""The moderators' queues: what waits, and what they decide."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from little_monster.db.models.comments import Comment
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.videos import Video
from little_monster.platform.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)
from little_monster.platform.http.dependencies import CurrentUser, ResourcesDep
from little_monster.platform.http.etags import if_match
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.comments import CommentDecision, CommentView, comment_tag
from little_monster.platform.http.schemas.videos import VideoDecision, VideoView, video_tag
from little_monster.platform.services import comments, videos

router = APIRouter(prefix="/moderation", tags=["moderation"])


@router.get(
    "/comments",
    summary="List comments to moderate",
    response_model=Listing[CommentView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_queue(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    status: Annotated[
        ModerationStatus, Query(description="Only comments of this status.")
    ] = ModerationStatus.PENDING,
) -> dict[str, Any]:
    """List comments on all videos, the oldest first; for moderators."""
    rows = await comments.list_queue(resources.database, user, status, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=CommentView.of, position=_position)


@router.patch(
    "/comments/{comment_id}",
    summary="Moderate a comment",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput, PreconditionFailed),
)
async def moderate_comment(
    comment_id: UUID,
    body: CommentDecision,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> CommentView:
    """Decide whether others see a comment, and tell its author why; for moderators."""
    check = if_match(request, comment_tag)
    comment = await comments.moderate_comment(
        resources.database, user, comment_id, body.columns(), check=check
    )
    response.headers["ETag"] = comment_tag(comment)
    return CommentView.of(comment)


@router.get(
    "/videos",
    summary="List videos to moderate",
    response_model=Listing[VideoView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_videos(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    status: Annotated[
        ModerationStatus, Query(description="Only videos with this verdict.")
    ] = ModerationStatus.PENDING,
) -> dict[str, Any]:
    """List videos that are to be public, or were, by the verdict on them, the oldest first; for
    moderators."""
    rows = await videos.list_queue(resources.database, user, status, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=VideoView.of, position=_position)


@router.patch(
    "/videos/{video_id}",
    summary="Moderate a video",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput, PreconditionFailed),
)
async def moderate_video(
    video_id: UUID,
    body: VideoDecision,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> VideoView:
    """Decide whether others may see a video, and tell its creator why; for moderators."""
    video = await videos.moderate_video(
        resources, user, video_id, body.status, body.reason, check=if_match(request, video_tag)
    )
    response.headers["ETag"] = video_tag(video)
    return VideoView.of(video)


def _position(row: Comment | Video) -> tuple[datetime, UUID]:
    return row.created_at, row.id

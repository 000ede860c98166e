"""The moderators' queue."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from little_monster.db.models.comments import Comment, ModerationStatus
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
from little_monster.platform.services import comments

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


def _position(comment: Comment) -> tuple[datetime, UUID]:
    return comment.created_at, comment.id

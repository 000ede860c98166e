"""Comments on videos."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.models.comments import Comment
from little_monster.platform.errors import InvalidInput, NotFound, PreconditionFailed, Unauthenticated
from little_monster.platform.http.dependencies import AskedVideo, CurrentUser, Idempotent, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import IdempotentRoute
from little_monster.platform.http.links import link
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.comments import CommentChange, CommentView, NewComment, comment_tag
from little_monster.platform.services import comments

router = APIRouter(prefix="/comments", tags=["comments"], route_class=IdempotentRoute)


@router.get(
    "",
    summary="List the comments on a video",
    response_model=Listing[CommentView],
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def list_comments(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    video_id: AskedVideo,
) -> dict[str, Any]:
    """List what everybody sees and one's own, newest first; moderators see all."""
    rows = await comments.list_comments(
        resources.database, user.user_id, video_id, limit=page.fetch, after=page.after
    )
    return listing(request, response, page, rows, view=CommentView.of, position=_position)


@router.post(
    "",
    status_code=201,
    summary="Write a comment",
    dependencies=[Idempotent],
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def create_comment(
    body: NewComment, response: Response, user: CurrentUser, resources: ResourcesDep
) -> CommentView:
    """Write a comment. Others see it when `moderation_status` is `approved`: `flagged` ones, and those that
    are `pending` as moderation was away, wait for a moderator."""
    comment = await comments.create_comment(resources, user.user_id, body.video_id, body.text)
    response.headers["Location"] = link("comments", comment.id).href
    return CommentView.of(comment)


@router.get(
    "/{comment_id}",
    summary="Show a comment",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_comment(
    comment_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> CommentView:
    """Show a comment; one that is not approved, to its author and moderators."""
    comment = await comments.read_comment(resources.database, user.user_id, comment_id)
    show(request, response, comment_tag(comment))
    return CommentView.of(comment)


@router.patch(
    "/{comment_id}",
    summary="Change one's own comment",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def change_comment(
    comment_id: UUID,
    body: CommentChange,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> CommentView:
    """Change the text of one's own comment, which is moderated anew."""
    check = if_match(request, comment_tag)
    comment = await comments.change_comment(resources, user.user_id, comment_id, body.text, check=check)
    response.headers["ETag"] = comment_tag(comment)
    return CommentView.of(comment)


@router.delete(
    "/{comment_id}",
    status_code=204,
    summary="Delete a comment",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def delete_comment(
    comment_id: UUID, request: Request, user: CurrentUser, resources: ResourcesDep
) -> None:
    """Delete one's own comment; moderators may delete anybody's."""
    check = if_match(request, comment_tag)
    await comments.delete_comment(resources.database, user.user_id, comment_id, check=check)


def _position(comment: Comment) -> tuple[datetime, UUID]:
    return comment.created_at, comment.id

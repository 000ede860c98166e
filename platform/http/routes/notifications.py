"""What a user is told, and whether they have read it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from little_monster.db.models.notifications import Notification
from little_monster.platform.errors import InvalidInput, NotFound, PreconditionFailed, Unauthenticated
from little_monster.platform.http.dependencies import CurrentUser, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.notifications import (
    NotificationChanges,
    NotificationView,
    ReadAllView,
)
from little_monster.platform.services import notifications

router = APIRouter(prefix="/notifications", tags=["notifications"])


@router.get(
    "",
    summary="List one's own notifications",
    response_model=Listing[NotificationView],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def list_notifications(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    unread: Annotated[bool | None, Query(description="Only those that were not read, or that were.")] = None,
) -> dict[str, Any]:
    """List notifications, newest first."""
    rows = await notifications.list_notifications(
        resources.database, user.user_id, limit=page.fetch, after=page.after, unread=unread
    )
    return listing(request, response, page, rows, view=NotificationView.of, position=_position)


@router.post("/read-all", summary="Mark all as read", responses=problem_responses(Unauthenticated))
async def read_all(user: CurrentUser, resources: ResourcesDep) -> ReadAllView:
    """Note that all notifications were read."""
    return ReadAllView(read=await notifications.mark_all(resources.database, user.user_id))


@router.get(
    "/{notification_id}",
    summary="Show a notification",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_notification(
    notification_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> NotificationView:
    """Show a notification; that leaves it unread."""
    notification = await notifications.read_notification(resources.database, user.user_id, notification_id)
    show(request, response, _tag(notification))
    return NotificationView.of(notification)


@router.patch(
    "/{notification_id}",
    summary="Mark a notification as read",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def change_notification(
    notification_id: UUID,
    body: NotificationChanges,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> NotificationView:
    """Note that a notification was read, or that it was not."""
    check = if_match(request, _tag)
    notification = await notifications.mark(
        resources.database, user.user_id, notification_id, read=body.read, check=check
    )
    response.headers["ETag"] = _tag(notification)
    return NotificationView.of(notification)


def _tag(notification: Notification) -> str:
    # Nothing else of it changes.
    return tag_of(notification.read_at or notification.created_at)


def _position(notification: Notification) -> tuple[datetime, UUID]:
    return notification.created_at, notification.id

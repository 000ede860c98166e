"""Accounts and roles, for admins."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.repositories import accounts
from little_monster.db.repositories.accounts import ListedUser
from little_monster.platform.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)
from little_monster.platform.http.dependencies import CurrentUser, LoggedInUser, OriginDep, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.administration import ListedUserView, RoleChange
from little_monster.platform.services import administration

router = APIRouter(prefix="/admin/users", tags=["admin"])


@router.get(
    "",
    summary="List all accounts",
    response_model=Listing[ListedUserView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_users(
    request: Request, response: Response, user: CurrentUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List the accounts, newest first; for admins."""
    rows = await administration.list_users(resources, user, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=ListedUserView.of, position=accounts.key)


@router.get(
    "/{user_id}",
    summary="Show an account",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput)},
)
async def get_user(
    user_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> ListedUserView:
    """Show somebody's account; for admins."""
    found = await administration.get_user(resources, user, user_id)
    show(request, response, _tag(found))
    return ListedUserView.of(found)


@router.patch(
    "/{user_id}",
    summary="Give a role",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput, PreconditionFailed),
)
async def change_user(
    user_id: UUID,
    body: RoleChange,
    request: Request,
    response: Response,
    user: LoggedInUser,
    resources: ResourcesDep,
    origin: OriginDep,
) -> ListedUserView:
    """Give somebody else a role; for admins. Nobody changes their own, so that one admin always stays."""
    check = if_match(request, _tag)
    changed = await administration.set_role(resources, user, user_id, body.role, origin, check=check)
    response.headers["ETag"] = _tag(changed)
    return ListedUserView.of(changed)


def _tag(user: ListedUser) -> str:
    return tag_of(user.updated_at)

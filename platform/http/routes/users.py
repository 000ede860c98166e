"""Accounts. Only one's own is there; `me` stands for its id."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from little_monster.db.models.users import User
from little_monster.platform.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)
from little_monster.platform.http.dependencies import (
    CurrentUser,
    LoggedInUser,
    OriginDep,
    ResourcesDep,
    limit_attempts,
)
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import forget_answers
from little_monster.platform.http.schemas.users import AccountEnd, UserChange, UserStatsView, UserView
from little_monster.platform.security import Principal
from little_monster.platform.services import accounts, users
from little_monster.platform.services.chat.run_log import forget_runs

router = APIRouter(prefix="/users", tags=["users"])


async def _own_account(
    user_id: Annotated[UUID | Literal["me"], Path(description="One's own id, or `me`.")], user: CurrentUser
) -> Principal:
    """Return who asks, for their own account only.

    Raises:
        NotFound: it is somebody else's.
    """
    if user_id != "me" and user_id != user.user_id:
        raise users.no_user()
    return user


Owner = Annotated[Principal, Depends(_own_account)]


@router.get(
    "/{user_id}",
    summary="Show one's own account",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_user(request: Request, response: Response, owner: Owner, resources: ResourcesDep) -> UserView:
    """Show the account that the token belongs to."""
    user = await accounts.get_user(resources, owner)
    show(request, response, _tag(user))
    return UserView.of(user)


@router.patch(
    "/{user_id}",
    summary="Change one's own account",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def change_user(
    body: UserChange, request: Request, response: Response, owner: Owner, resources: ResourcesDep
) -> UserView:
    """Change what is given and leave the rest. `avatar_color: null` removes the colour; `preferences` are
    merged (RFC 7396), `subjects` replaced."""
    check = if_match(request, _tag)
    user = await users.change_user(resources.database, owner.user_id, body.given(), check=check)
    response.headers["ETag"] = _tag(user)
    return UserView.of(user)


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete one's own account",
    responses=problem_responses(
        Unauthenticated, Forbidden, NotFound, Conflict, InvalidInput, PreconditionFailed
    ),
)
async def delete_user(
    request: Request,
    owner: Owner,
    _logged_in: LoggedInUser,
    origin: OriginDep,
    resources: ResourcesDep,
    body: AccountEnd | None = None,
    x_password: Annotated[
        str | None,
        Header(max_length=1024, description="The password, for who cannot send a body with DELETE; UTF-8."),
    ] = None,
) -> None:
    """Delete the account with all documents, conversations, jobs, vectors and files; nothing brings it back.
    The password is needed, in the body or in `X-Password`. After 503, repeat it."""
    await limit_attempts(request, resources, str(owner.user_id))
    password = _password(body, x_password)
    await users.delete_user(resources, owner.user_id, password, origin, check=if_match(request, _tag))
    await forget_answers(resources.redis, owner.user_id)
    await forget_runs(resources.redis, owner.user_id)


@router.get(
    "/{user_id}/stats",
    summary="Show how much one has",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def get_stats(owner: Owner, resources: ResourcesDep) -> UserStatsView:
    """Count documents with their passages and bytes, conversations with their messages, videos, comments,
    ratings and events."""
    return UserStatsView.of(await users.read_stats(resources.database, owner.user_id))


def _tag(user: User) -> str:
    return tag_of(user.updated_at)


def _password(body: AccountEnd | None, header: str | None) -> str:
    if body is not None:
        return body.password.get_secret_value()
    if header:
        # HTTP hands on bytes, which the server reads as Latin-1.
        return header.encode("latin-1").decode(errors="replace")
    raise InvalidInput(
        "The password is needed to delete an account.",
        errors=[{"field": "body.password", "message": "is missing"}],
    )

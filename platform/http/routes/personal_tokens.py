"""Personal access tokens."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.repositories import personal_access_tokens
from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.caching import forbid_storing
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.links import link
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.personal_tokens import (
    MadePersonalToken,
    NewPersonalToken,
    PersonalTokenView,
)
from little_monster.platform.services import personal_tokens

router = APIRouter(prefix="/auth/tokens", tags=["auth"])


@router.post(
    "",
    status_code=201,
    summary="Make a personal access token",
    responses=problem_responses(Unauthenticated, Forbidden, Conflict, InvalidInput),
)
async def create_token(
    body: NewPersonalToken, response: Response, user: LoggedInUser, resources: ResourcesDep, origin: OriginDep
) -> MadePersonalToken:
    """Make a token for a script. It is shown this once, and so never kept for an `Idempotency-Key`."""
    lifetime = None if body.expires_in_days is None else timedelta(days=body.expires_in_days)
    row, token = await personal_tokens.create_token(
        resources, user, name=body.name, scopes=body.scopes, lifetime=lifetime, origin=origin
    )
    response.headers["Location"] = link("auth", "tokens", row.id).href
    forbid_storing(response)
    return MadePersonalToken(token=token, details=PersonalTokenView.of(row))


@router.get(
    "",
    summary="List one's own personal access tokens",
    response_model=Listing[PersonalTokenView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_tokens(
    request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List the tokens that are not revoked, expired ones too, newest first."""
    rows = await personal_tokens.list_tokens(resources, user, limit=page.fetch, after=page.after)
    return listing(
        request, response, page, rows, view=PersonalTokenView.of, position=personal_access_tokens.key
    )


@router.delete(
    "/{token_id}",
    status_code=204,
    summary="Revoke a personal access token",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def revoke_token(
    token_id: UUID, user: LoggedInUser, resources: ResourcesDep, origin: OriginDep
) -> None:
    """Revoke a token: the next request that shows it is refused."""
    await personal_tokens.revoke_token(resources, user, token_id, origin)

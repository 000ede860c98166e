"""Accounts at other issuers, whose tokens are good here."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.repositories import external_identities as rows_of
from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep, limit_attempts
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.links import link
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.external_identities import IdentityView, NewIdentity
from little_monster.platform.services import external_identities

router = APIRouter(prefix="/auth/identities", tags=["auth"])


@router.post(
    "",
    status_code=201,
    summary="Link an account at another issuer",
    responses=problem_responses(Unauthenticated, Forbidden, Conflict, InvalidInput),
)
async def link_identity(
    body: NewIdentity,
    request: Request,
    response: Response,
    user: LoggedInUser,
    resources: ResourcesDep,
    origin: OriginDep,
) -> IdentityView:
    """Let the tokens of an account at another issuer be good for this account, whatever their e-mail
    addresses; one of them proves that it is one's own."""
    await limit_attempts(request, resources, str(user.user_id))
    row = await external_identities.link(resources, user, body.token.get_secret_value(), origin)
    response.headers["Location"] = link("auth", "identities", row.id).href
    return IdentityView.of(row)


@router.get(
    "",
    summary="List one's own accounts at other issuers",
    response_model=Listing[IdentityView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_identities(
    request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List the accounts whose tokens are good for this one, newest first."""
    rows = await external_identities.list_identities(resources, user, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=IdentityView.of, position=rows_of.key)


@router.delete(
    "/{identity_id}",
    status_code=204,
    summary="Unlink an account at another issuer",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def unlink_identity(
    identity_id: UUID, user: LoggedInUser, resources: ResourcesDep, origin: OriginDep
) -> None:
    """Unlink an account: the next request with a token of it is refused, until it is linked again. An account
    that was made by such a token has no password before it is reset by e-mail."""
    await external_identities.unlink(resources, user, identity_id, origin)

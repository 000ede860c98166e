"""What endpoints take: the resources, who asks, the request's id, and the limits that are checked before
they run."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Query, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from little_monster.platform import permissions
from little_monster.platform.errors import InvalidInput, ProblemError, RateLimited, Unauthenticated
from little_monster.platform.http.addresses import client_address, client_network, is_shared
from little_monster.platform.http.context import context_of
from little_monster.platform.origin import Origin
from little_monster.platform.rate_limits import REQUESTS, Decision, digest_account
from little_monster.platform.resources import Resources
from little_monster.platform.security import PERSONAL_TOKEN_PREFIX, Principal, invalid_token
from little_monster.platform.services import accounts, external_identities, personal_tokens, sessions

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def resources_of(request: Request) -> Resources:
    """Return what the lifespan opened."""
    resources: Resources = request.app.state.resources
    return resources


async def _get_resources(request: Request) -> Resources:
    return resources_of(request)


ResourcesDep = Annotated[Resources, Depends(_get_resources)]


async def get_request_id(request: Request) -> str:
    """Return the id of the request: the client's `X-Request-ID`, or ours."""
    return context_of(request).request_id


RequestId = Annotated[str, Depends(get_request_id)]


async def _asked_video(
    video_id: Annotated[UUID | None, Query(description="The video.")] = None,
    video_id_alias: Annotated[
        UUID | None,
        Query(alias="videoId", deprecated=True, description="The same, in another spelling; one of both."),
    ] = None,
) -> UUID:
    """Return the video that the query names, in either spelling.

    Raises:
        InvalidInput: it names none, or two.
    """
    named = {one for one in (video_id, video_id_alias) if one is not None}
    if len(named) != 1:
        raise InvalidInput(
            "The query names no video." if not named else "The query names two videos.",
            errors=[{"field": "query.video_id", "message": "is missing" if not named else "is not videoId"}],
        )
    return named.pop()


AskedVideo = Annotated[UUID, Depends(_asked_video)]


class _BearerToken(SecurityBase):
    """Who asks, by the access token or personal access token of `Authorization`. Scheme and check are one
    dependency, as FastAPI's way to solve each costs as much as the check itself."""

    scheme_name = "bearer"

    def __init__(self) -> None:
        self.model = HTTPBearerModel(
            bearerFormat="JWT",
            description="The `access_token` that log-in, registration and refreshing return, or a personal"
            " access token: with the scope `read` for GET, `write` for everything else; or a token of another"
            " issuer that is accepted here.",
        )

    async def __call__(self, request: Request) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: no token, or not a valid one.
            Forbidden: a personal access token without the scope that this needs.
            ProblemError: why a good token of another issuer names nobody here.
        """
        principal = await identify(request)
        if principal is None:
            raise context_of(request).refusal or invalid_token()
        scope = permissions.READ if request.method in _READING else permissions.WRITE
        permissions.require_scope(principal, scope)
        return principal


CurrentUser = Annotated[Principal, Depends(_BearerToken())]


async def _get_logged_in_user(user: CurrentUser, resources: ResourcesDep) -> Principal:
    """Return who asks, when they are logged in.

    Raises:
        Forbidden: they show a personal access token.
        Unauthenticated: the session of their access token has ended.
    """
    permissions.require_login(user)
    await sessions.require_session(resources, user)
    return user


LoggedInUser = Annotated[Principal, Depends(_get_logged_in_user)]


async def _get_origin(request: Request) -> Origin:
    return Origin.of(client_address(request), request.headers.get("user-agent"))


OriginDep = Annotated[Origin, Depends(_get_origin)]


async def limit_requests(request: Request) -> None:
    """Count the request once against its user, or against its address when no valid token says who it is.

    That an account was deleted or got another role while its tokens live is known here, as to look it up
    would cost each request a round trip: a token of the first is like none, one of the second counts with the
    new role.

    Raises:
        RateLimited: there were too many in this minute.
    """
    context = context_of(request)
    if context.counted:
        return
    context.counted = True
    principal = await identify(request)
    if principal is not None:
        decision = await _count(request, str(principal.user_id))
        if decision.marked:
            principal = await _renew(request)
        if decision.shut:
            context.is_gone = True
        elif principal is not None:
            _apply(request, decision)
            return
    _apply(request, await _count(request, f"address:{client_network(request)}"))


async def limit_attempts(request: Request, resources: Resources, account: str) -> None:
    """Count an attempt on an account (its e-mail address, its id, or a code that was sent to it), by network
    and account, and by network alone, as one may try one password on many accounts. Behind a proxy that
    names no address that would let one attacker lock out everybody, so that it is not done there.

    Raises:
        RateLimited: there were too many in this minute.
    """
    settings, network = resources.settings.api, client_network(request)
    if not is_shared(request):
        limit = settings.attempts_per_address_per_minute
        _apply(request, await resources.limiter.hit("address_attempts", network, limit))
    key = f"{network}:{digest_account(account)}"
    _apply(request, await resources.limiter.hit("attempts", key, settings.login_attempts_per_minute))


async def idempotency_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=200,
            pattern=r"^[\x21-\x7e]+$",
            description="A value of the client's choice. A request that is repeated with the same key within "
            "24 hours gets the first answer again and creates nothing.",
        ),
    ] = None,
) -> str | None:
    """Declare the header; `idempotency.IdempotentRoute` acts on routes that depend on this."""
    return key


Idempotent = Depends(idempotency_key)


async def identify(request: Request) -> Principal | None:
    """Return whom a valid token of the request names, None when there is none."""
    context = context_of(request)
    if not context.identified:
        context.principal = await _read_token(request)
        context.identified = True
    return None if context.is_gone else context.principal


async def _read_token(request: Request, *, anew: bool = False) -> Principal | None:
    """Return whom the token names, by what is remembered of it unless it is to be looked up `anew`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token, resources = token.strip(), resources_of(request)
    try:
        if token.startswith(PERSONAL_TOKEN_PREFIX):
            return await personal_tokens.read_token(resources, token)
        return await _read_access_token(request, resources, token, anew=anew)
    except Unauthenticated:
        return None
    except ProblemError as error:
        context_of(request).refusal = error
        return None


async def _read_access_token(request: Request, resources: Resources, token: str, *, anew: bool) -> Principal:
    try:
        principal = resources.tokens.read(token)
    except Unauthenticated:
        if not resources.foreign_tokens.accepted:
            raise
        origin = await _get_origin(request)
        return await external_identities.read_token(resources, token, origin, anew=anew)
    return await accounts.renewed(resources, principal) if anew else principal


async def _renew(request: Request) -> Principal | None:
    """Look up what is remembered of the token; None when it names nobody any more."""
    context = context_of(request)
    context.principal = await _read_token(request, anew=True)
    context.is_gone = context.principal is None
    return context.principal


async def _count(request: Request, key: str) -> Decision:
    resources = resources_of(request)
    return await resources.limiter.hit(REQUESTS, key, resources.settings.api.requests_per_minute)


def _apply(request: Request, decision: Decision) -> None:
    headers = context_of(request).headers
    headers["RateLimit-Policy"] = f'"{decision.name}";q={decision.limit};w=60'
    headers["RateLimit"] = f'"{decision.name}";r={decision.remaining};t={decision.reset_s}'
    if not decision.allowed:
        raise RateLimited(f"More than {decision.limit} requests in a minute.", retry_after_s=decision.reset_s)

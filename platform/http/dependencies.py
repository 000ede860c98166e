"""What endpoints take: the resources, who asks, the request's id, and the limits that are checked before
they run."""

import hashlib
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from little_monster.platform import permissions
from little_monster.platform.errors import RateLimited, Unauthenticated
from little_monster.platform.http.context import context_of
from little_monster.platform.origin import Origin
from little_monster.platform.rate_limits import REQUESTS, Decision
from little_monster.platform.resources import Resources
from little_monster.platform.security import PERSONAL_TOKEN_PREFIX, Principal, invalid_token
from little_monster.platform.services import personal_tokens, sessions

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


class _BearerToken(SecurityBase):
    """Who asks, by the access token or personal access token of `Authorization`. Scheme and check are one
    dependency, as FastAPI's way to solve each costs as much as the check itself."""

    scheme_name = "bearer"

    def __init__(self) -> None:
        self.model = HTTPBearerModel(
            bearerFormat="JWT",
            description="The `access_token` that log-in, registration and refreshing return, or a personal"
            " access token: with the scope `read` for GET, `write` for everything else.",
        )

    async def __call__(self, request: Request) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: no token, or not a valid one.
            Forbidden: a personal access token without the scope that this needs.
        """
        principal = await identify(request)
        if principal is None:
            raise invalid_token()
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

    That an account was deleted while its tokens live is known here, as to look it up would cost each request
    a round trip: such a token is like none.

    Raises:
        RateLimited: there were too many in this minute.
    """
    context = context_of(request)
    if context.counted:
        return
    context.counted = True
    principal = await identify(request)
    decision = await _count(request, str(principal.user_id)) if principal else None
    if decision is not None and decision.shut:
        context.is_gone = True
        principal = None
    if principal is None:
        decision = await _count(request, f"address:{client_address(request)}")
    _apply(request, decision)


async def limit_attempts(request: Request, resources: Resources, account: str) -> None:
    """Count an attempt on an account (its e-mail address, its id, or a code that was sent to it), by address
    and account: behind a proxy that names no address, one attacker must not lock out everybody.

    Raises:
        RateLimited: there were too many in this minute.
    """
    digest = hashlib.sha256(account.encode()).hexdigest()[:32]
    key = f"{client_address(request)}:{digest}"
    limit = resources.settings.api.login_attempts_per_minute
    _apply(request, await resources.limiter.hit("attempts", key, limit))


def client_address(request: Request) -> str:
    """Return the address of the other end of the connection."""
    return request.client.host if request.client else "unknown"


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


async def _read_token(request: Request) -> Principal | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token, resources = token.strip(), resources_of(request)
    try:
        if token.startswith(PERSONAL_TOKEN_PREFIX):
            return await personal_tokens.read_token(resources, token)
        return resources.tokens.read(token)
    except Unauthenticated:
        return None


async def _count(request: Request, key: str) -> Decision | None:
    resources = resources_of(request)
    return await resources.limiter.hit(REQUESTS, key, resources.settings.api.requests_per_minute)


def _apply(request: Request, decision: Decision | None) -> None:
    if decision is None:
        return
    headers = context_of(request).headers
    headers["RateLimit-Policy"] = f'"{decision.name}";q={decision.limit};w=60'
    headers["RateLimit"] = f'"{decision.name}";r={decision.remaining};t={decision.reset_s}'
    if not decision.allowed:
        raise RateLimited(f"More than {decision.limit} requests in a minute.", retry_after_s=decision.reset_s)

"""What endpoints take: the resources, who asks, the request's id, and the limits that are checked before
they run."""

import hashlib
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from little_monster.platform.errors import RateLimited, Unauthenticated
from little_monster.platform.http.context import context_of
from little_monster.platform.rate_limits import REQUESTS, Decision
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, invalid_token


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
    """Who asks, by the access token of `Authorization`. Scheme and check are one dependency, as FastAPI's way
    to solve each costs as much as the check itself."""

    scheme_name = "bearer"

    def __init__(self) -> None:
        self.model = HTTPBearerModel(
            bearerFormat="JWT",
            description="The `access_token` that log-in, registration and refreshing return.",
        )

    async def __call__(self, request: Request) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: no token, or not a valid one.
        """
        principal = identify(request)
        if principal is None:
            raise invalid_token()
        return principal


CurrentUser = Annotated[Principal, Depends(_BearerToken())]


async def limit_requests(request: Request) -> None:
    """Count the request against its user, or against its address when no valid token says who it is.

    That an account was deleted while its tokens live is known here, as to look it up would cost each request
    a round trip: such a token is like none.

    Raises:
        RateLimited: there were too many in this minute.
    """
    principal = identify(request)
    decision = await _count(request, str(principal.user_id)) if principal else None
    if decision is not None and decision.shut:
        context_of(request).is_gone = True
        principal = None
    if principal is None:
        decision = await _count(request, f"address:{client_address(request)}")
    _apply(request, decision)


async def limit_attempts(request: Request, resources: Resources, account: str) -> None:
    """Count an attempt to show a password, by address and account (its e-mail address, or its id): behind a
    proxy that names no address, one attacker must not lock out everybody.

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


def identify(request: Request) -> Principal | None:
    """Return whom a valid token of the request names, None when there is none."""
    context = context_of(request)
    if context.is_gone or context.principal is not None:
        return None if context.is_gone else context.principal
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        principal = resources_of(request).tokens.read(token.strip())
    except Unauthenticated:
        return None
    context.principal = principal
    return principal


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

"""Registering, logging in, staying logged in, logging out."""

from fastapi import APIRouter, Request, Response

from little_monster.db.models.users import User
from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from little_monster.platform.http.caching import forbid_storing
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep, limit_attempts
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.auth import (
    LogIn,
    RefreshTokenBody,
    Registration,
    SessionView,
    TokensView,
)
from little_monster.platform.http.schemas.users import UserView
from little_monster.platform.security import Principal
from little_monster.platform.services import accounts, email_verification, sessions

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    responses=problem_responses(Conflict, InvalidInput),
)
async def register(
    body: Registration,
    request: Request,
    response: Response,
    resources: ResourcesDep,
    origin: OriginDep,
) -> SessionView:
    """Make an account and log it in. A code that verifies the address is sent to it."""
    await limit_attempts(request, resources, body.email)
    user, tokens = await accounts.register(
        resources,
        email=body.email,
        password=body.password.get_secret_value(),
        display_name=body.display_name,
        origin=origin,
    )
    resources.background.start(email_verification.send_code(resources, Principal(user.id, user.role)))
    response.headers["Location"] = "/api/v1/users/me"
    return _session(response, user, tokens)


@router.post("/login", summary="Log in", responses=problem_responses(Unauthenticated, InvalidInput))
async def log_in(
    body: LogIn, request: Request, response: Response, resources: ResourcesDep, origin: OriginDep
) -> SessionView:
    """Log in. An unknown address and a wrong password are answered alike. When the second factor is on and
    the password right, `totp_required` asks for `totp_code` or `recovery_code`."""
    await limit_attempts(request, resources, body.email)
    user, tokens = await accounts.log_in(
        resources,
        email=body.email,
        password=body.password.get_secret_value(),
        proof=body.proof,
        origin=origin,
    )
    return _session(response, user, tokens)


@router.post(
    "/refresh-token",
    summary="Exchange a refresh token for new tokens",
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def refresh_token(
    body: RefreshTokenBody, response: Response, resources: ResourcesDep, origin: OriginDep
) -> TokensView:
    """Exchange a refresh token for new tokens. It is good for one use; a second use logs everybody out who
    holds a token of the same log-in."""
    tokens = await accounts.refresh(resources, body.refresh_token, origin)
    forbid_storing(response)
    return TokensView.of(tokens)


@router.post("/logout", status_code=204, summary="Log out", responses=problem_responses(InvalidInput))
async def log_out(body: RefreshTokenBody, resources: ResourcesDep, origin: OriginDep) -> None:
    """End the session of a refresh token. Its access token lives on for its last minutes."""
    await accounts.log_out(resources, body.refresh_token, origin)


@router.post(
    "/logout-everywhere",
    status_code=204,
    summary="Log out on all devices",
    responses=problem_responses(Unauthenticated, Forbidden),
)
async def log_out_everywhere(user: LoggedInUser, resources: ResourcesDep, origin: OriginDep) -> None:
    """End all sessions, this one too. Their access tokens live on for their last minutes, at most 15;
    personal access tokens stay."""
    await sessions.log_out_everywhere(resources, user, origin)


def _session(response: Response, user: User, tokens: accounts.Tokens) -> SessionView:
    forbid_storing(response)
    return SessionView(user=UserView.of(user), tokens=TokensView.of(tokens))

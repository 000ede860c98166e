"""Registering, logging in, staying logged in, logging out."""

from fastapi import APIRouter, Request, Response

from little_monster.db.models.users import User
from little_monster.platform.errors import Conflict, InvalidInput, Unauthenticated
from little_monster.platform.http.dependencies import ResourcesDep, limit_attempts
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.auth import (
    LogIn,
    RefreshTokenBody,
    Registration,
    SessionView,
    TokensView,
)
from little_monster.platform.http.schemas.users import UserView
from little_monster.platform.services import accounts

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    responses=problem_responses(Conflict, InvalidInput),
)
async def register(
    body: Registration, request: Request, response: Response, resources: ResourcesDep
) -> SessionView:
    """Make an account and log it in."""
    await limit_attempts(request, resources, body.email)
    user, tokens = await accounts.register(
        resources,
        email=body.email,
        password=body.password.get_secret_value(),
        display_name=body.display_name,
    )
    response.headers["Location"] = "/api/v1/users/me"
    return _session(response, user, tokens)


@router.post("/login", summary="Log in", responses=problem_responses(Unauthenticated, InvalidInput))
async def log_in(body: LogIn, request: Request, response: Response, resources: ResourcesDep) -> SessionView:
    """Log in. An unknown address and a wrong password are answered alike."""
    await limit_attempts(request, resources, body.email)
    user, tokens = await accounts.log_in(
        resources, email=body.email, password=body.password.get_secret_value()
    )
    return _session(response, user, tokens)


@router.post(
    "/refresh-token",
    summary="Exchange a refresh token for new tokens",
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def refresh_token(body: RefreshTokenBody, response: Response, resources: ResourcesDep) -> TokensView:
    """Exchange a refresh token for new tokens. It is good for one use; a second use logs everybody out who
    holds a token of the same log-in."""
    tokens = await accounts.refresh(resources, body.refresh_token)
    _forbid_storing(response)
    return TokensView.of(tokens)


@router.post("/logout", status_code=204, summary="Log out", responses=problem_responses(InvalidInput))
async def log_out(body: RefreshTokenBody, resources: ResourcesDep) -> None:
    """Revoke the refresh tokens of this log-in. Its access token lives on for its last minutes."""
    await accounts.log_out(resources, body.refresh_token)


def _session(response: Response, user: User, tokens: accounts.Tokens) -> SessionView:
    _forbid_storing(response)
    return SessionView(user=UserView.of(user), tokens=TokensView.of(tokens))


def _forbid_storing(response: Response) -> None:
    # RFC 6749, section 5.1: no cache may keep an answer that carries tokens.
    response.headers["Cache-Control"] = "no-store"

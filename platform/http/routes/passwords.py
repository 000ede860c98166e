"""Changing a password, and setting a new one when it is forgotten."""

from fastapi import APIRouter, Request, Response

from little_monster.platform.errors import Forbidden, InvalidInput, Unauthenticated
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep, limit_attempts
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.passwords import (
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
)
from little_monster.platform.services import passwords

router = APIRouter(prefix="/auth/password", tags=["auth"])


@router.post(
    "/change",
    status_code=204,
    summary="Change one's own password",
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def change_password(
    body: PasswordChange,
    request: Request,
    user: LoggedInUser,
    resources: ResourcesDep,
    origin: OriginDep,
) -> None:
    """Change the password, and end all other sessions. Their access tokens live on for their last minutes;
    personal access tokens stay."""
    await limit_attempts(request, resources, str(user.user_id))
    changed = await passwords.change(
        resources,
        user,
        current=body.current_password.get_secret_value(),
        new=body.new_password.get_secret_value(),
        origin=origin,
    )
    resources.background.start(passwords.send_notice(resources, changed.email))


@router.post(
    "/reset/request",
    status_code=202,
    summary="Ask for a code that sets a new password",
    response_class=Response,
    responses={202: {"description": "A code is sent if the address has an account."}},
)
async def request_password_reset(
    body: PasswordResetRequest,
    request: Request,
    resources: ResourcesDep,
    origin: OriginDep,
) -> Response:
    """Send a code to an address. One that has no account is answered alike, and as fast."""
    await limit_attempts(request, resources, body.email)
    resources.background.start(passwords.send_reset_code(resources, body.email, origin))
    return Response(status_code=202)


@router.post(
    "/reset",
    status_code=204,
    summary="Set a new password with a code",
    responses=problem_responses(InvalidInput),
)
async def reset_password(
    body: PasswordReset,
    request: Request,
    resources: ResourcesDep,
    origin: OriginDep,
) -> None:
    """Set a new password with the code of the message, and end all sessions. The second factor stays on."""
    await limit_attempts(request, resources, body.code)
    user = await passwords.reset(
        resources, code=body.code, new=body.new_password.get_secret_value(), origin=origin
    )
    resources.background.start(passwords.send_notice(resources, user.email))

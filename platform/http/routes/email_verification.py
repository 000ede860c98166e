"""Verifying the e-mail address of an account."""

from fastapi import APIRouter, Request, Response

from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep, limit_attempts
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.email_verification import EmailVerification
from little_monster.platform.services import email_verification

router = APIRouter(prefix="/auth/verify-email", tags=["auth"])


@router.post(
    "",
    status_code=204,
    summary="Verify an e-mail address",
    responses=problem_responses(InvalidInput),
)
async def verify_email(
    body: EmailVerification, request: Request, resources: ResourcesDep, origin: OriginDep
) -> None:
    """Verify the address of an account with the code that was sent to it. The code says whose it is."""
    await limit_attempts(request, resources, body.code)
    await email_verification.verify(resources, body.code, origin)


@router.post(
    "/request",
    status_code=202,
    summary="Ask for a code that verifies one's own address",
    response_class=Response,
    responses={
        202: {"description": "A code is sent, unless there were five in the last hour."},
        **problem_responses(Unauthenticated, Forbidden, Conflict),
    },
)
async def request_verification(user: LoggedInUser, resources: ResourcesDep) -> Response:
    """Send a code to the address of the account. Earlier codes are good no longer."""
    await email_verification.require_unverified(resources, user)
    resources.background.start(email_verification.send_code(resources, user))
    return Response(status_code=202)

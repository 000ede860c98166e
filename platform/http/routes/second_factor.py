"""The second factor: codes of an authenticator application."""

from fastapi import APIRouter, Request, Response

from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.caching import forbid_storing
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep, limit_attempts
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.second_factor import (
    EnrolmentView,
    RecoveryCodesView,
    TotpConfirmation,
    TotpProof,
)
from little_monster.platform.services import second_factor

router = APIRouter(prefix="/auth/totp", tags=["auth"])


@router.post(
    "",
    status_code=201,
    summary="Begin to turn the second factor on",
    responses=problem_responses(Unauthenticated, Forbidden, Conflict, InvalidInput),
)
async def begin_totp(
    body: TotpProof, request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep
) -> EnrolmentView:
    """Make a secret for an authenticator application, with the password. Log-ins do not ask for codes before
    one has confirmed it; beginning again replaces the secret, and another password ends it."""
    await limit_attempts(request, resources, str(user.user_id))
    forbid_storing(response)
    return EnrolmentView.of(await second_factor.begin(resources, user, body.password.get_secret_value()))


@router.post(
    "/confirm",
    summary="Turn the second factor on",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def confirm_totp(
    body: TotpConfirmation, response: Response, user: LoggedInUser, resources: ResourcesDep, origin: OriginDep
) -> RecoveryCodesView:
    """Turn the second factor on with a code of the application. Sessions stay; the next log-in asks for a
    code."""
    codes = await second_factor.confirm(resources, user, body.code, origin)
    forbid_storing(response)
    return RecoveryCodesView(recovery_codes=[*codes])


@router.delete(
    "",
    status_code=204,
    summary="Turn the second factor off",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def disable_totp(
    body: TotpProof, request: Request, user: LoggedInUser, resources: ResourcesDep, origin: OriginDep
) -> None:
    """Turn the second factor off, with the password. Its recovery codes are gone."""
    await limit_attempts(request, resources, str(user.user_id))
    await second_factor.disable(resources, user, body.password.get_secret_value(), origin)

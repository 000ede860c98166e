"""Accounts."""

from fastapi import APIRouter

from little_monster.platform.errors import Unauthenticated
from little_monster.platform.http.dependencies import CurrentUser, ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.users import UserView
from little_monster.platform.services import accounts

router = APIRouter(prefix="/users", tags=["users"])


@router.get("/me", summary="Show one's own account", responses=problem_responses(Unauthenticated))
async def get_me(user: CurrentUser, resources: ResourcesDep) -> UserView:
    """Show the account that the token belongs to."""
    return UserView.of(await accounts.get_user(resources, user))

"""Where a user is logged in."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.repositories import sessions as rows_of
from little_monster.platform.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.sessions import LoginSessionView
from little_monster.platform.services import sessions

router = APIRouter(prefix="/auth/sessions", tags=["auth"])


@router.get(
    "",
    summary="List one's own sessions",
    response_model=Listing[LoginSessionView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_sessions(
    request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List the log-ins that can still be refreshed, newest first."""
    rows = await sessions.list_sessions(resources, user, limit=page.fetch, after=page.after)
    return listing(
        request,
        response,
        page,
        rows,
        view=lambda row: LoginSessionView.of(row, user.session_id),
        position=rows_of.key,
    )


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="End a session",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def revoke_session(
    session_id: UUID, user: LoggedInUser, resources: ResourcesDep, origin: OriginDep
) -> None:
    """End a session: it cannot be refreshed any more. Its access token lives on for its last minutes, at most
    15."""
    await sessions.revoke_session(resources, user, session_id, origin)

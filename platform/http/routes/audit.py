"""The audit trail of an account."""

from typing import Any

from fastapi import APIRouter, Request, Response

from little_monster.db.repositories import audit_events
from little_monster.platform.errors import Forbidden, InvalidInput, Unauthenticated
from little_monster.platform.http.dependencies import LoggedInUser, ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.audit import AuditEventView
from little_monster.platform.services import audit

router = APIRouter(prefix="/auth/events", tags=["auth"])


@router.get(
    "",
    summary="List the security events of one's own account",
    response_model=Listing[AuditEventView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_events(
    request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List log-ins, failures and changes of how one logs in, newest first. Nothing of it can be changed."""
    rows = await audit.list_events(resources, user, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=AuditEventView.of, position=audit_events.key)

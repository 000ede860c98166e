"""Everything of one's own account, to take away."""

from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from little_monster.platform.errors import Conflict, Forbidden, Gone, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.dependencies import LoggedInUser, OriginDep, ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.links import link
from little_monster.platform.http.routes.users import Owner
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.services import exports

router = APIRouter(prefix="/users/{user_id}/export", tags=["users"])

_ZIP = "application/zip"
_FILE = {"Content-Disposition": 'attachment; filename="little-monster.zip"', "Cache-Control": "no-store"}


@router.post(
    "",
    status_code=202,
    summary="Ask for everything of one's own account",
    responses={
        202: {
            "description": "The job will write the file.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
    },
)
async def request_export(
    response: Response, owner: Owner, _logged_in: LoggedInUser, origin: OriginDep, resources: ResourcesDep
) -> JobView:
    """Queue a job that writes a zip of the profile, documents with their files, conversations, planner,
    videos, comments, ratings and the trail of security events. While one is under way, it is shown again."""
    job = await exports.request_export(resources, owner.user_id, origin)
    response.headers["Location"] = link("jobs", job.id).href
    return JobView.of(job)


@router.get(
    "/{export_id}",
    summary="Download everything of one's own account",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The zip.",
            "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
        },
        **problem_responses(Unauthenticated, Forbidden, NotFound, Conflict, Gone, InvalidInput),
    },
)
async def download_export(
    export_id: UUID, owner: Owner, _logged_in: LoggedInUser, origin: OriginDep, resources: ResourcesDep
) -> StreamingResponse:
    """Download the file that a job has written; `export_id` is the id of that job, which says until when."""
    parts = await exports.open_export(resources, owner.user_id, export_id, origin)
    return StreamingResponse(parts, media_type=_ZIP, headers=_FILE)

"""Long work and how far it is."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.models.jobs import Job
from little_monster.platform.errors import InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.dependencies import CurrentUser, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.services import jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "",
    summary="List one's own jobs",
    response_model=Listing[JobView],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def list_jobs(
    request: Request, response: Response, user: CurrentUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List the jobs of the user, newest first."""
    rows = await jobs.list_jobs(resources, user, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=JobView.of, position=_position)


@router.get(
    "/{job_id}",
    summary="Show a job",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_job(
    job_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> JobView:
    """Show how far a job is."""
    job = await jobs.get_job(resources, user, job_id)
    view = JobView.of(job)
    # The ETA moves although the row does not.
    show(request, response, tag_of(job.updated_at, view.eta_seconds))
    return view


def _position(job: Job) -> tuple[Any, UUID]:
    return job.created_at, job.id

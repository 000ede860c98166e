"""Long work and how far it is."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.platform.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.dependencies import CurrentUser, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.http.streaming import StreamResponse, encode_event, encode_retry
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal
from little_monster.platform.services import jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])

EVENTS = """Follow a job as server-sent events, each with the whole job as its data: `status` whenever it has
come further, the first one at once, and one last event when it ends: `done`, `failed` or `cancelled`.

A client that was cut off connects again and misses nothing, as the first event says how the job stands. The
stream of a job that goes on for long closes without a last event after 15 minutes (`LM_API__JOB_STREAM_S`);
connect again then, with a token that is valid."""

_LAST_EVENTS: Final = {
    JobStatus.COMPLETED: "done",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}
_EVENT_SCHEMA: Final[dict[str, Any]] = {
    "title": "One event of a job",
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string", "enum": ["status", *_LAST_EVENTS.values()]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
EVENT_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "What happens to the job, as it happens.",
        "content": {"text/event-stream": {"schema": _EVENT_SCHEMA}},
    }
}
"""The OpenAPI `responses` of what `job_events` answers."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


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
    show(request, response, tag_of(job.updated_at, view.eta_seconds, "file" in view.links))
    return view


@router.get(
    "/{job_id}/events",
    status_code=200,
    summary="Follow a job",
    description=EVENTS,
    response_class=StreamResponse,
    responses={**EVENT_STREAM, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def follow_job(job_id: UUID, user: CurrentUser, resources: ResourcesDep) -> StreamResponse:
    """Stream how far a job is; errors before the first event are ordinary problems."""
    return job_events(user, resources, job_id)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses=problem_responses(Unauthenticated, NotFound, Conflict, InvalidInput),
)
async def cancel_job(job_id: UUID, user: CurrentUser, resources: ResourcesDep) -> JobView:
    """Cancel a job that waits or runs; its worker stops at once. One that is cancelled already is shown as it
    is, one that ended otherwise is a conflict."""
    return JobView.of(await jobs.cancel_job(resources, user, job_id))


def job_events(user: Principal, resources: Resources, job_id: UUID) -> StreamResponse:
    """Return the answer that follows a job."""
    frames = _frames(jobs.follow_job(resources, user, job_id))
    return StreamResponse(frames, heartbeat_s=resources.settings.api.heartbeat_s)


async def _frames(followed: AsyncGenerator[Job, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(followed):
        first = True
        async for job in followed:
            data = JobView.of(job).model_dump(mode="json", by_alias=True)
            # Rises with every change, over all connections.
            number = (job.updated_at - _EPOCH) // _MICROSECOND
            frame = encode_event(_LAST_EVENTS.get(job.status, "status"), data, number)
            yield encode_retry() + frame if first else frame
            first = False


def _position(job: Job) -> tuple[Any, UUID]:
    return job.created_at, job.id

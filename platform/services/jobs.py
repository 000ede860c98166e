"""Jobs, as who waits for them sees them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import jobs
from little_monster.platform.errors import NotFound
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal

# Below this share of the work the time of the rest cannot be told from the time so far.
_LEAST_PROGRESS = 0.02


async def get_job(resources: Resources, principal: Principal, job_id: UUID) -> Job:
    """Return one job.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    job = await jobs.read(resources.database, principal.user_id, job_id)
    if job is None:
        raise NotFound("There is no such job.")
    return job


async def list_jobs(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> Sequence[Job]:
    """Return at most `limit` jobs after the given position, newest first."""
    async with resources.database.session(principal.user_id) as session:
        return await jobs.list(session, limit=limit, after=after)


def eta_seconds(job: Job, now: datetime | None = None) -> int | None:
    """Return in how many seconds the job ends at its pace so far; None when it does not run or has hardly
    begun."""
    if job.status != JobStatus.RUNNING or job.started_at is None or job.progress < _LEAST_PROGRESS:
        return None
    elapsed = max((now or datetime.now(UTC)) - job.started_at, timedelta())
    return round(elapsed.total_seconds() * (1 - job.progress) / job.progress)

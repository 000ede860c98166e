"""Jobs, as who waits for them sees them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import jobs, user_documents
from little_monster.platform.errors import Conflict, NotFound
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal

POLL_S = 0.5
"""Seconds between looks at a job that somebody follows: a job says how far it is about once a second."""

_ENDS = {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}
# Below this share of the work the time of the rest cannot be told from the time so far.
_LEAST_PROGRESS = 0.02


async def get_job(resources: Resources, principal: Principal, job_id: UUID) -> Job:
    """Return one job.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    job = await jobs.read(resources.database, principal.user_id, job_id, fresh=False)
    if job is None:
        raise _no_job()
    return job


async def list_jobs(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> Sequence[Job]:
    """Return at most `limit` jobs after the given position, newest first."""
    return await resources.database.query(principal.user_id, partial(jobs.list, limit=limit, after=after))


async def follow_job(resources: Resources, principal: Principal, job_id: UUID) -> AsyncGenerator[Job, None]:
    """Yield the job as it is, and again whenever it has come further, until it has ended, is gone, or was
    followed for as long as the settings say. While the database is away, wait.

    Raises:
        NotFound: there is none, or it is somebody else's; before the first one only.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + resources.settings.api.job_stream_s
    job: Job | None = await get_job(resources, principal, job_id)
    seen = None
    while job is not None:
        if _standing(job) != seen:
            yield job
        seen = _standing(job)
        if has_ended(job) or clock() >= until:
            return
        await asyncio.sleep(POLL_S)
        job = await _look_again(resources, principal, job)


async def cancel_job(resources: Resources, principal: Principal, job_id: UUID) -> Job:
    """Cancel a job that waits or runs, and return it; one that is cancelled stays so. A document that it was
    to read counts as failed.

    Raises:
        NotFound: there is none, or it is somebody else's.
        Conflict: it has ended (`job_ended`).
    """
    async with resources.database.session(principal.user_id) as session:
        await jobs.cancel(session, job_id)
        job = await jobs.get(session, job_id)
    if job is None:
        raise _no_job()
    if job.status != JobStatus.CANCELLED:
        raise Conflict(f"The job has {job.status.value}.", code="job_ended")
    if job.subject_id is not None:
        # By itself, as a worker locks document and job in either order.
        async with resources.database.session(principal.user_id) as session:
            await user_documents.give_up(
                session, job.subject_id, code="job_cancelled", reason="Reading it was cancelled."
            )
    return job


def has_ended(job: Job) -> bool:
    """Say whether nothing more happens to the job."""
    return job.status in _ENDS


def eta_seconds(job: Job, now: datetime | None = None) -> int | None:
    """Return in how many seconds the job ends at its pace so far; None when it does not run or has hardly
    begun."""
    if job.status != JobStatus.RUNNING or job.started_at is None or job.progress < _LEAST_PROGRESS:
        return None
    elapsed = max((now or datetime.now(UTC)) - job.started_at, timedelta())
    return round(elapsed.total_seconds() * (1 - job.progress) / job.progress)


async def _look_again(resources: Resources, principal: Principal, job: Job) -> Job | None:
    try:
        return await jobs.read(resources.database, principal.user_id, job.id, fresh=False)
    except DatabaseUnavailable:
        return job


def _standing(job: Job) -> tuple[object, ...]:
    """What a worker or its owner changes of a job."""
    return job.status, job.stage, job.progress, job.done, job.total, job.attempts, job.error_code


def _no_job() -> NotFound:
    return NotFound("There is no such job.")

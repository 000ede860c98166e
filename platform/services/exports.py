"""Everything of an account in one file, which its user takes away."""

from collections.abc import AsyncIterator
from uuid import UUID

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import jobs
from little_monster.platform.errors import Conflict, NotFound
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.services import audit
from little_monster.platform.services.audit import SecurityEvent

EXPORT = "export_account"
"""Kind of the job that writes the file."""


def key_of(user_id: UUID, job_id: UUID) -> str:
    """Return where the storage keeps the file that a job writes."""
    return f"{user_id}/exports/{job_id}.zip"


async def request_export(resources: Resources, user_id: UUID, origin: Origin) -> Job:
    """Queue a job that writes the file; one that is not done yet is returned instead of a second."""
    async with resources.database.session(user_id) as session:
        pending = await jobs.find_active(session, user_id, EXPORT)
        if pending is not None:
            return pending
        job = await jobs.create(session, user_id=user_id, kind=EXPORT)
        await audit.record(resources, session, SecurityEvent.EXPORT_REQUESTED, user_id, origin, job_id=job.id)
        return job


async def open_export(
    resources: Resources, user_id: UUID, job_id: UUID, origin: Origin
) -> AsyncIterator[bytes]:
    """Return the file, part by part; that it was fetched goes into the trail.

    Raises:
        NotFound: there is no such export, it is somebody else's, or its file is gone.
        Conflict: it is not done yet, or never will be (`export_not_ready`).
        Unavailable: the storage does not answer.
    """
    job = await jobs.read(resources.database, user_id, job_id, fresh=True)
    if job is None or job.kind != EXPORT:
        raise NotFound("There is no such export.", code="export_not_found")
    if job.status != JobStatus.COMPLETED:
        raise Conflict(f"There is no file yet: the job is {job.status.value}.", code="export_not_ready")
    parts = resources.storage.stream(key_of(user_id, job_id))
    # Now, while a missing file can still be told.
    first = await anext(parts, b"")
    await audit.record_alone(resources, SecurityEvent.EXPORT_DOWNLOADED, user_id, origin, job_id=job_id)
    return _joined(first, parts)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part

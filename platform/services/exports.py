"""Everything of an account in one file, which its user takes away."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from little_monster.db.errors import DuplicateKey
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.platform.errors import Conflict, Gone, NotFound
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.services import audit
from little_monster.platform.services.audit import SecurityEvent
from little_monster.platform.storage import FileStorage

EXPORT = "export_account"
"""Kind of the job that writes the file."""
BATCH: Final = 100

_log = structlog.get_logger(__name__)


def key_of(user_id: UUID, job_id: UUID) -> str:
    """Return where the storage keeps the file that a job writes."""
    return f"{user_id}/exports/{job_id}.zip"


async def request_export(resources: Resources, user_id: UUID, origin: Origin) -> Job:
    """Queue a job that writes the file; one that is not done yet is returned instead of a second."""
    while True:
        async with resources.database.session(user_id) as session:
            pending = await jobs.find_active(session, user_id, EXPORT)
        if pending is not None:
            return pending
        try:
            return await _queue(resources, user_id, origin)
        except DuplicateKey:
            # The database allows one: somebody was faster, or has even ended by now.
            continue


async def open_export(
    resources: Resources, user_id: UUID, job_id: UUID, origin: Origin
) -> AsyncIterator[bytes]:
    """Return the file, part by part; that it was fetched goes into the trail.

    Raises:
        NotFound: there is no such export, it is somebody else's, or its file is gone.
        Gone: it was kept for its time (`export_expired`).
        Conflict: it is not done yet, or never will be (`export_not_ready`).
        Unavailable: the storage does not answer.
    """
    job = await jobs.read(resources.database, user_id, job_id, fresh=True)
    if job is None or job.kind != EXPORT:
        raise NotFound("There is no such export.", code="export_not_found")
    if job.status != JobStatus.COMPLETED:
        raise Conflict(f"There is no file yet: the job is {job.status.value}.", code="export_not_ready")
    if has_expired(job):
        raise Gone("The file was kept for its time; ask for another.", code="export_expired")
    parts = await resources.storage.open(key_of(user_id, job_id))
    await audit.record_alone(resources, SecurityEvent.EXPORT_DOWNLOADED, user_id, origin, job_id=job_id)
    return parts


def has_expired(job: Job) -> bool:
    """Say whether the file of the job can no longer be downloaded, be it removed already or not."""
    return job.expires_at is not None and job.expires_at <= datetime.now(UTC)


async def delete_expired(database: Database, storage: FileStorage, *, batch: int = BATCH) -> int:
    """Remove the files whose time is over and return how many those were. It may be repeated, stopped and run
    by many: a job forgets its result after its file is gone.

    Raises:
        DatabaseUnavailable, Unavailable: what is left is removed the next time.
    """
    removed = 0
    while True:
        async with database.session(None) as session:
            found = await jobs.find_expired(session, EXPORT, datetime.now(UTC), limit=batch)
        for job_id, user_id in found:
            await storage.delete(key_of(user_id, job_id))
            async with database.session(user_id) as session:
                removed += await jobs.forget_result(session, job_id)
        if len(found) < batch:
            break
    if removed:
        _log.info("exports_expired", removed=removed)
    return removed


async def _queue(resources: Resources, user_id: UUID, origin: Origin) -> Job:
    async with resources.database.session(user_id) as session:
        job = await jobs.create(session, user_id=user_id, kind=EXPORT)
        await audit.record(resources, session, SecurityEvent.EXPORT_REQUESTED, user_id, origin, job_id=job.id)
        return job

"""Jobs: what a user waits for, and the queue that workers take it from.

A worker claims jobs as nobody and then works on each as its owner. What it writes takes effect only while it
holds the job: every such call says False or None when the lease went to another worker or the job was
cancelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, select, text, update

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import After, Rows, changed, insert, newest_first
from little_monster.db.session import Database, Session

_BY_ID = ByKey(Job)

CHANNEL = "jobs"
"""The channel of `db.listen` that hears the kind of each job that is queued."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that a worker took; `attempts` counts this one."""

    id: UUID
    user_id: UUID
    kind: str
    subject_id: UUID | None
    payload: dict[str, Any]
    attempts: int
    max_attempts: int


async def create(
    session: Session,
    *,
    user_id: UUID,
    kind: str,
    subject_id: UUID | None = None,
    payload: dict[str, Any] | None = None,
    max_attempts: int = 3,
) -> Job:
    """Queue a job; workers hear of it when the transaction commits."""
    row = Job(
        user_id=user_id, kind=kind, subject_id=subject_id, payload=payload or {}, max_attempts=max_attempts
    )
    return await insert(session, row)


async def get(session: Session, job_id: UUID) -> Job | None:
    """Return the job; None also for somebody else's."""
    return await session.get(Job, job_id)


async def read(database: Database, owner: UUID, job_id: UUID, *, fresh: bool) -> Job | None:
    """Return the job as `get` does, in a transaction of its own."""
    return await database.read(owner, _BY_ID, job_id, fresh=fresh)


async def list(
    session: Session,
    *,
    limit: int,
    after: After = None,
    status: JobStatus | None = None,
    subject_id: UUID | None = None,
) -> Rows[Job]:
    """Return at most `limit` jobs, newest first, behind `after` (`key` of the last one seen)."""
    query = select(Job)
    if status is not None:
        query = query.where(Job.status == status)
    if subject_id is not None:
        query = query.where(Job.subject_id == subject_id)
    return [*await session.scalars(newest_first(query, Job.created_at, Job.id, limit=limit, after=after))]


async def find_active(session: Session, user_id: UUID, kind: str) -> Job | None:
    """Return the user's newest job of this kind that has not ended."""
    active = Job.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])
    query = select(Job).where(Job.user_id == user_id, Job.kind == kind, active)
    return await session.scalar(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1))


def key(row: Job) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def claim(
    session: Session, *, worker: str, kinds: Sequence[str], limit: int, lease_s: float
) -> Rows[ClaimedJob]:
    """Take at most `limit` jobs that are due, or whose worker was lost, for `lease_s` seconds, oldest first.

    Works for nobody's session. Jobs whose worker was lost for the last time fail with `worker_lost`, and so
    does the document that such a job was reading.
    """
    query = text("SELECT * FROM queue.claim_jobs(:worker, :kinds, :limit, :lease_s)")
    values = {"worker": worker, "kinds": [*kinds], "limit": limit, "lease_s": lease_s}
    return [ClaimedJob(**row) for row in (await session.execute(query, values)).mappings()]


async def heartbeat(session: Session, job_id: UUID, *, worker: str, lease_s: float) -> bool:
    """Hold the job for another `lease_s` seconds from now."""
    until = func.now() + timedelta(seconds=lease_s)
    return await changed(session, update(Job).where(_held(job_id, worker)).values(leased_until=until)) == 1


async def progress(session: Session, job_id: UUID, *, worker: str, stage: str, fraction: float) -> bool:
    """Say how far the job is: its stage, and a fraction from 0 to 1 of the whole."""
    values = {"stage": stage, "progress": min(max(fraction, 0.0), 1.0)}
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def complete(
    session: Session, job_id: UUID, *, worker: str, result: dict[str, Any] | None = None
) -> bool:
    """End the job well."""
    values = {
        "status": JobStatus.COMPLETED,
        "progress": 1.0,
        "result": result,
        "error_code": None,
        "error_reason": None,
        **_released(),
    }
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def fail(session: Session, job_id: UUID, *, worker: str, code: str, reason: str) -> bool:
    """End the job for good: trying again would not help."""
    values = {"status": JobStatus.FAILED, "error_code": code, "error_reason": reason, **_released()}
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def retry_later(
    session: Session, job_id: UUID, *, worker: str, delay_s: float, code: str, reason: str
) -> JobStatus | None:
    """Queue the job again in `delay_s` seconds, or fail it when its attempts are used up; return which of
    both.
    """
    again = Job.attempts < Job.max_attempts
    values = {
        "status": case((again, JobStatus.QUEUED), else_=JobStatus.FAILED).cast(Job.status.type),
        "run_after": func.now() + timedelta(seconds=delay_s),
        "error_code": code,
        "error_reason": reason,
        "leased_by": None,
        "leased_until": None,
        "finished_at": case((again, None), else_=func.now()),
    }
    query = update(Job).where(_held(job_id, worker)).values(values).returning(Job.status)
    return await session.scalar(query.execution_options(synchronize_session=False))


async def cancel(session: Session, job_id: UUID) -> bool:
    """Cancel the job unless it has ended; its worker learns of it with its next heartbeat."""
    return await changed(session, _cancelled().where(Job.id == job_id)) == 1


async def cancel_for(session: Session, subject_id: UUID) -> int:
    """Cancel all jobs on one thing (a document that is deleted) that have not ended; return how many."""
    return await changed(session, _cancelled().where(Job.subject_id == subject_id))


async def cancel_all(session: Session, user_id: UUID) -> int:
    """Cancel all jobs of the user that have not ended; return how many."""
    return await changed(session, _cancelled().where(Job.user_id == user_id))


def _held(job_id: UUID, worker: str) -> ColumnElement[bool]:
    return and_(Job.id == job_id, Job.status == JobStatus.RUNNING, Job.leased_by == worker)


def _released() -> dict[str, Any]:
    return {"leased_by": None, "leased_until": None, "finished_at": func.now()}


def _cancelled() -> Any:
    active = Job.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])
    return update(Job).where(active).values(status=JobStatus.CANCELLED, **_released())

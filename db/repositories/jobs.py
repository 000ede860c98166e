"""Jobs: what a user waits for, and the queue that workers take it from.

A worker begins a job as nobody and then works on it as its owner. What it writes takes effect only while it
has the job: every such call says False or None when another worker has it now or the job was cancelled.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, null, select, text, update

from little_monster.db import queue
from little_monster.db.base import new_id
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import After, Rows, changed, insert, newest_first
from little_monster.db.session import Database, Session

WORKER_LOST = "worker_lost", "The worker stopped before the job was done, again and again."
_BY_ID = ByKey(Job)


class Unit(StrEnum):
    """What a stage of a job counts."""

    CHUNKS = "chunks"
    FILES = "files"
    PAGES = "pages"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of a stage is done."""

    done: int
    total: int
    unit: Unit


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
    job_id = new_id()
    row = Job(
        id=job_id,
        user_id=user_id,
        kind=kind,
        subject_id=subject_id,
        payload=payload or {},
        max_attempts=max_attempts,
        queue_id=await queue.enqueue(session, kind, job_id, user_id),
    )
    return await insert(session, row)


async def create_held(
    session: Session,
    *,
    user_id: UUID,
    kind: str,
    subject_id: UUID,
    worker: str,
    payload: dict[str, Any],
    max_attempts: int,
) -> Job:
    """Make a job that `worker` has from the start, past the queue. It lets others see that it lives by
    `touch`; `requeue_lost` puts what it has into the queue when it does not."""
    row = Job(
        id=new_id(),
        user_id=user_id,
        kind=kind,
        subject_id=subject_id,
        payload=payload,
        max_attempts=max_attempts,
        status=JobStatus.RUNNING,
        attempts=1,
        leased_by=worker,
        started_at=func.now(),
    )
    return await insert(session, row)


async def create_apart(session: Session, *, user_id: UUID, kind: str, payload: dict[str, Any]) -> Job:
    """Make a job that a program of its own begins, and no worker of the queue, as often as it likes."""
    row = Job(id=new_id(), user_id=user_id, kind=kind, payload=payload, max_attempts=2**31)
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
    query = select(Job).where(Job.user_id == user_id, Job.kind == kind, _active())
    return await session.scalar(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1))


async def find_active_on(session: Session, subject_id: UUID, kind: str) -> Job | None:
    """Return the newest job of this kind on one thing that has not ended."""
    query = select(Job).where(Job.subject_id == subject_id, Job.kind == kind, _active())
    return await session.scalar(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1))


async def find_like(session: Session, user_id: UUID, kind: str, payload: dict[str, Any]) -> Job | None:
    """Return the user's newest job of this kind that has not ended and whose payload holds these values."""
    query = select(Job).where(
        Job.user_id == user_id, Job.kind == kind, _active(), Job.payload.contains(payload)
    )
    return await session.scalar(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1))


async def take_over(session: Session, job_id: UUID, *, worker: str, family: str) -> Job | None:
    """Give `worker` a running job of another one of its family (their names begin so), which is known to be
    dead; None when somebody else has it, or it has ended. One that was tried often enough fails.
    """
    dead = and_(Job.status == JobStatus.RUNNING, Job.leased_by.startswith(family, autoescape=True))
    query = select(Job).where(Job.id == job_id, dead).with_for_update()
    job = await session.scalar(query.execution_options(populate_existing=True))
    if job is None or job.leased_by == worker:
        return job
    if job.attempts >= job.max_attempts:
        await fail(session, job_id, worker=str(job.leased_by), code=WORKER_LOST[0], reason=WORKER_LOST[1])
    else:
        job.attempts, job.leased_by = job.attempts + 1, worker
        await session.flush()
    await session.refresh(job)
    return job


async def touch(session: Session, worker: str) -> int:
    """Let others see that the user's jobs that `worker` has are being worked on; return how many they are."""
    held = and_(Job.leased_by == worker, Job.status == JobStatus.RUNNING)
    return await changed(session, update(Job).where(held).values(leased_by=worker))


async def held_by(session: Session, worker: str) -> Rows[Job]:
    """Return the user's jobs that `worker` has."""
    query = select(Job).where(Job.leased_by == worker, Job.status == JobStatus.RUNNING)
    return [*await session.scalars(query)]


def key(row: Job) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def begin(session: Session, job_id: UUID, *, worker: str) -> ClaimedJob | None:
    """Take the job, also from a worker that has it and is silent; None when it has ended or is gone.

    Works for nobody's session. A job whose worker was lost for the last time fails with `worker_lost`, and so
    does the document that it was reading.
    """
    query = text("SELECT * FROM queue.begin_job(:job, :worker)")
    row = (await session.execute(query, {"job": job_id, "worker": worker})).mappings().one_or_none()
    return None if row is None else ClaimedJob(**row)


async def requeue_lost(database: Database, *, untouched_s: float = 60.0, limit: int = 100) -> int:
    """Let jobs wait again that wait or run but whose entry in the queue is gone; return how many.

    PgQueuer drops an entry whose end it could not record. Only jobs are looked at that nobody has touched for
    `untouched_s` seconds, so that one that is just being made is not taken for lost.
    """
    query = text("SELECT * FROM queue.lost_jobs(:untouched, :limit)")
    values = {"untouched": timedelta(seconds=untouched_s), "limit": limit}
    async with database.session(None) as session:
        lost = (await session.execute(query, values)).all()
    return sum([await requeue(database, job_id, user_id) for job_id, user_id in lost])


async def requeue(database: Database, job_id: UUID, user_id: UUID) -> bool:
    """Let a job wait in the queue that waits or runs, and is not there; False when it is, or has ended."""
    async with database.session(user_id) as session:
        job = await session.scalar(select(Job).where(Job.id == job_id, _active()).with_for_update())
        if job is None:
            return False
        job.queue_id = await queue.enqueue(session, job.kind, job_id, user_id)
        if job.queue_id is None:
            return False
        job.status, job.leased_by = JobStatus.QUEUED, None
    return True


async def hold(session: Session, job_id: UUID, *, worker: str) -> bool:
    """Let nobody change the job before this transaction ends."""
    query = select(Job.id).where(_held(job_id, worker)).with_for_update()
    return await session.scalar(query) is not None


async def keep(session: Session, job_id: UUID, *, worker: str, values: dict[str, Any]) -> bool:
    """Keep values in the job's payload, for its next attempt."""
    merged = Job.payload.op("||")(values)
    return await changed(session, update(Job).where(_held(job_id, worker)).values(payload=merged)) == 1


async def progress(
    session: Session,
    job_id: UUID,
    *,
    worker: str,
    stage: str,
    fraction: float,
    counts: Counts | None = None,
    more: int = 0,
) -> bool:
    """Say how far the job is: its stage, a fraction from 0 to 1 of the whole, and what the stage counts.

    Args:
        more: what is done need not be done again, and there are so many attempts more at least: only what
            breaks off at the same place again and again uses its attempts up.
    """
    values: dict[str, Any] = {
        "stage": stage,
        "progress": min(max(fraction, 0.0), 1.0),
        "done": None if counts is None else counts.done,
        "total": None if counts is None else counts.total,
        "unit": None if counts is None else counts.unit.value,
    }
    if more:
        values["max_attempts"] = func.greatest(Job.max_attempts, Job.attempts + more)
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def complete(
    session: Session,
    job_id: UUID,
    *,
    worker: str,
    result: dict[str, Any] | None = None,
    kept_s: float | None = None,
) -> bool:
    """End the job well. What it made is kept for `kept_s` seconds, or for good."""
    values = {
        "status": JobStatus.COMPLETED,
        "progress": 1.0,
        "result": result,
        "error_code": None,
        "error_reason": None,
        "expires_at": None if kept_s is None else func.now() + timedelta(seconds=kept_s),
        **_released(),
    }
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def fail(session: Session, job_id: UUID, *, worker: str, code: str, reason: str) -> bool:
    """End the job for good: trying again would not help."""
    values = {"status": JobStatus.FAILED, "error_code": code, "error_reason": reason, **_released()}
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def retry(session: Session, job_id: UUID, *, worker: str, code: str, reason: str) -> JobStatus | None:
    """Let the job wait again, or fail it when its attempts are used up; return which of both. When it is
    begun again, its entry in the queue says.
    """
    again = Job.attempts < Job.max_attempts
    values = {
        "status": case((again, JobStatus.QUEUED), else_=JobStatus.FAILED).cast(Job.status.type),
        "error_code": code,
        "error_reason": reason,
        "leased_by": None,
        "finished_at": case((again, None), else_=func.now()),
    }
    query = update(Job).where(_held(job_id, worker)).values(values).returning(Job.status)
    return await session.scalar(query.execution_options(synchronize_session=False))


async def give_back(session: Session, job_id: UUID, *, worker: str) -> bool:
    """Let the job wait again as if this attempt had not been: its worker stops."""
    values = {"status": JobStatus.QUEUED, "attempts": Job.attempts - 1, "leased_by": None}
    return await changed(session, update(Job).where(_held(job_id, worker)).values(values)) == 1


async def cancel(session: Session, job_id: UUID) -> bool:
    """Cancel the job unless it has ended; its worker hears of it when the transaction ends."""
    return await _cancel(session, Job.id == job_id) == 1


async def cancel_for(session: Session, subject_id: UUID) -> int:
    """Cancel all jobs on one thing (a document that is deleted) that have not ended; return how many."""
    return await _cancel(session, Job.subject_id == subject_id)


async def cancel_all(session: Session, user_id: UUID) -> int:
    """Cancel all jobs of the user that have not ended; return how many."""
    return await _cancel(session, Job.user_id == user_id)


async def _cancel(session: Session, which: ColumnElement[bool]) -> int:
    query = update(Job).where(_active(), which).values(status=JobStatus.CANCELLED, **_released())
    entries = [*await session.scalars(query.returning(Job.queue_id))]
    await queue.cancel(session, [entry for entry in entries if entry is not None])
    return len(entries)


async def find_expired(
    session: Session, kind: str, until: datetime, *, limit: int
) -> Rows[tuple[UUID, UUID]]:
    """Return id and owner of at most `limit` jobs of this kind whose time ended before `until`, and whose
    result is still there; works for nobody's session."""
    query = text("SELECT id, user_id FROM queue.find_expired(:kind, :until, :limit)")
    found = await session.execute(query, {"kind": kind, "until": until, "limit": limit})
    return [(row.id, row.user_id) for row in found]


async def forget_result(session: Session, job_id: UUID) -> bool:
    """Note that what the job made was removed; False when it was before."""
    query = update(Job).where(Job.id == job_id, Job.result.is_not(None)).values(result=null())
    return await changed(session, query) == 1


def _held(job_id: UUID, worker: str) -> ColumnElement[bool]:
    return and_(Job.id == job_id, Job.status == JobStatus.RUNNING, Job.leased_by == worker)


def _released() -> dict[str, Any]:
    return {"leased_by": None, "finished_at": func.now()}


def _active() -> ColumnElement[bool]:
    return Job.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])

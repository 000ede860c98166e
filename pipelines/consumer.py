"""Takes jobs from the queue and has a few of them worked on at once; does what is due again and again.

PgQueuer brings the entries, beats for those that are being worked on, and hands them to another worker when
the beats stop. What it records of an entry is not what users see: that is the row of the job, which the work
itself writes while it has its lease.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from pgqueuer import PgQueuer, RetryRequested
from pgqueuer.domain.models import Context, Schedule
from pgqueuer.domain.models import Job as Entry

from little_monster.db import queue
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.pipelines import retries
from little_monster.pipelines.leases import Lease

_log = structlog.get_logger(__name__)
# After a failure that could not even be written down.
_AFTER_AN_OUTAGE = timedelta(seconds=5)
_LONGEST_PAUSE_S = 5.0

Work = Callable[[Lease], Awaitable[JobStatus | None]]
"""Does a job, records how it stands then, and returns that; None when the lease was lost."""


@dataclass(frozen=True, slots=True)
class Routine:
    """What is done again and again, by one of all workers: `when` is a cron expression of six fields, of
    which the last are the seconds."""

    name: str
    when: str
    work: Callable[[], Awaitable[object]]


@dataclass
class Consumer:
    """One worker of the queue.

    Args:
        database: where the jobs are.
        url: where the queue is, for a connection of the worker's own.
        works: what to do by kind of job.
        routines: what else to do.
        concurrency: jobs at once at most.
        silence_s: seconds after which a silent worker counts as lost.
        grace_s: seconds that running jobs have to end after `stop`, or when the queue is away.
        poll_s: seconds between looks for jobs of which no word came, as none comes of a retry.
    """

    database: Database
    url: str
    works: Mapping[str, Work]
    routines: tuple[Routine, ...] = ()
    concurrency: int = 2
    silence_s: float = 30.0
    grace_s: float = 20.0
    poll_s: float = 3.0
    _running: set[asyncio.Future[JobStatus | None]] = field(default_factory=set, init=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then end or give back what is running. An outage is waited out."""
        pause_s = 0.1
        while not stop.is_set():
            begun = asyncio.get_running_loop().time()
            try:
                await self._consume(stop)
            except (DatabaseUnavailable, *queue.LOST) as error:
                _log.warning("queue_unavailable", error=type(error).__name__)
            if asyncio.get_running_loop().time() - begun > _LONGEST_PAUSE_S:
                pause_s = 0.1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _consume(self, stop: asyncio.Event) -> None:
        """Work on one connection until `stop` is set or it is lost."""
        async with queue.connected(self.url) as (driver, lost):
            manager = PgQueuer(driver, channel=queue.SETTINGS.channel, queries=queue.queries(driver))
            for kind in self.works:
                manager.entrypoint(kind)(self._do)
            for routine in self.routines:
                manager.schedule(routine.name, routine.when, clean_old=True)(_repeated(routine))
            end = asyncio.create_task(self._end(manager, stop, lost))
            try:
                await manager.run(
                    dequeue_timeout=timedelta(seconds=self.poll_s),
                    batch_size=1,
                    max_concurrent_tasks=max(self.concurrency, 2),
                    heartbeat_timeout=timedelta(seconds=self.silence_s),
                    shutdown_on_listener_failure=True,
                )
            finally:
                end.cancel()
                await asyncio.gather(end, return_exceptions=True)

    async def _end(self, manager: PgQueuer, stop: asyncio.Event, lost: asyncio.Event) -> None:
        """When it is time, take no more jobs, and break off those that do not end by themselves."""
        events = [asyncio.create_task(event.wait()) for event in (stop, lost)]
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                event.cancel()
        manager.shutdown.set()
        if self._running:
            await asyncio.wait(self._running, timeout=self.grace_s)
        for work in self._running:
            work.cancel()

    async def _do(self, entry: Entry, context: Context) -> None:
        """Work on the job of an entry.

        Raises:
            RetryRequested: it is not done; PgQueuer hands the entry out again.
        """
        assert entry.payload is not None, "an entry names its job"
        job_id, worker = UUID(bytes=entry.payload), uuid4().hex
        try:
            async with self.database.session(None) as session:
                job = await jobs.begin(session, job_id, worker=worker)
        except DatabaseUnavailable:
            raise RetryRequested(_AFTER_AN_OUTAGE, "begin") from None
        if job is None:
            return
        lease = Lease(self.database, job, worker, context.cancellation)
        with structlog.contextvars.bound_contextvars(job_id=str(job.id), kind=job.kind, attempt=job.attempts):
            status = await self._work(lease)
        if status == JobStatus.QUEUED:
            raise RetryRequested(retries.pause(job.attempts), "failed")

    async def _work(self, lease: Lease) -> JobStatus | None:
        """Do the job; return how it stands.

        Raises:
            RetryRequested: nobody could write down how it stands, or this worker stops.
        """
        log = _log.bind(job_id=str(lease.job.id), kind=lease.job.kind, attempt=lease.job.attempts)
        log.info("job_started")
        begun = asyncio.get_running_loop().time()
        work = asyncio.ensure_future(self.works[lease.job.kind](lease))
        self._running.add(work)
        try:
            status = await work
        except asyncio.CancelledError:
            # Of `_end`, or of PgQueuer, whose connection is lost.
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            log.info("job_released" if await _given_back(lease) else "job_lost")
            raise RetryRequested(timedelta(), "worker_stopped") from None
        except Exception:
            log.exception("job_lost")
            raise RetryRequested(_AFTER_AN_OUTAGE, "job_lost") from None
        finally:
            self._running.discard(work)
        seconds = round(asyncio.get_running_loop().time() - begun, 3)
        log.info("job_ended", outcome=str(status) if status else "lease_lost", seconds=seconds)
        return status


async def _given_back(lease: Lease) -> bool:
    try:
        return await lease.give_back()
    except DatabaseUnavailable:
        return False


def _repeated(routine: Routine) -> Callable[[Schedule], Awaitable[None]]:
    async def work(_: Schedule) -> None:
        try:
            await routine.work()
        except DatabaseUnavailable as error:
            _log.warning("routine_put_off", routine=routine.name, error=str(error))
        except Exception:
            _log.exception("routine_failed", routine=routine.name)

    return work

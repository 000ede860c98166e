"""Takes jobs from the queue and has a few of them worked on at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog

from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.pipelines.leases import LEASE_S, Lease

_log = structlog.get_logger(__name__)

Work = Callable[[Lease], Awaitable[object]]


class Consumer:
    """One worker of the queue.

    Args:
        database: where the queue is.
        worker: a name no other process has.
        kinds: kinds of job to take.
        work: does a job and records how it ended.
        release: gives a job back that was broken off.
        concurrency: jobs at once at most.
        lease_s: seconds after which a silent worker counts as lost.
        poll_s: seconds between looks for jobs whose time has come, for which there is no call.
        grace_s: seconds that running jobs have to end after `stop`.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker: str,
        kinds: Sequence[str],
        work: Work,
        release: Work,
        concurrency: int = 2,
        lease_s: float = LEASE_S,
        poll_s: float = 3.0,
        grace_s: float = 20.0,
    ) -> None:
        self._database, self._worker, self._kinds = database, worker, kinds
        self._work, self._release = work, release
        self._concurrency, self._lease_s = concurrency, lease_s
        self._poll_s, self._grace_s = poll_s, grace_s
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, calls: AsyncIterator[str]) -> None:
        """Work until `stop` is set, then end or give back what is running. `calls` yields when a job is
        queued.
        """
        helpers = [
            asyncio.create_task(self._hear(calls)),
            asyncio.create_task(self._stop_waiting(stop)),
        ]
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._take()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._poll_s)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._drain()

    async def _hear(self, calls: AsyncIterator[str]) -> None:
        async for _ in calls:
            self._wake.set()

    async def _stop_waiting(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _take(self) -> None:
        free = self._concurrency - len(self._running)
        if free <= 0:
            return
        try:
            async with self._database.session(None) as session:
                claimed = await jobs.claim(
                    session, worker=self._worker, kinds=self._kinds, limit=free, lease_s=self._lease_s
                )
        except DatabaseUnavailable as error:
            _log.warning("queue_unavailable", error=str(error))
            return
        for job in claimed:
            self._start(Lease(self._database, job, self._worker, self._lease_s))

    def _start(self, lease: Lease) -> None:
        task = asyncio.create_task(self._do(lease))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _do(self, lease: Lease) -> None:
        log = _log.bind(job_id=str(lease.job.id), kind=lease.job.kind, attempt=lease.job.attempts)
        log.info("job_started")
        begun = asyncio.get_running_loop().time()
        try:
            outcome = await self._work(lease)
        except asyncio.CancelledError:
            await self._release(lease)
            log.info("job_released")
            raise
        except Exception:
            # Its end could not be recorded: the lease runs out, and a worker takes the job again.
            log.exception("job_lost")
            return
        seconds = round(asyncio.get_running_loop().time() - begun, 3)
        log.info("job_ended", outcome=str(outcome) if outcome else "lease_lost", seconds=seconds)

    async def _drain(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

"""The program of one job over a library: ``python -m little_monster.pipelines.library.run JOB``.

It runs as a Ray job of the cluster that serves, and does what the job says. Every document that it works on
is its own, by a job that it has; it says every few seconds that it lives. When it dies, its documents are
taken by the workers of the queue after a minute, and the same command goes on with the rest.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import UUID, uuid4

import structlog

from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs, user_documents
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.session import Database, Session
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.pipelines.library.intake import SOURCE, Run
from little_monster.pipelines.library.sources import list_files
from little_monster.pipelines.library.tally import Tally
from little_monster.pipelines.stages.columns import Ended
from little_monster.platform.errors import LittleMonsterError
from little_monster.platform.priority import give_way
from little_monster.platform.services.library import LIBRARY, Order
from little_monster.platform.settings import load_settings

BEAT_S = 5.0
"""Seconds between the words that the job, and each document on its way, is alive."""
_WAIT_S = 1.0

Execute = Callable[[Order, Run], Iterator[Ended]]
"""Ingests the files of an order; blocks between rows."""

_log = structlog.get_logger(__name__)


async def begin(database: Database, job_id: UUID) -> Lease | None:
    """Take the job; None when it has ended, or is none of a library."""
    worker = f"{LIBRARY}:{job_id}:{uuid4().hex}"
    async with database.session(None) as session:
        claimed = await jobs.begin(session, job_id, worker=worker)
    return None if claimed is None or claimed.kind != LIBRARY else Lease(database, claimed, worker)


async def ingest_library(lease: Lease, execute: Execute, max_bytes: int) -> JobStatus | None:
    """Do the job and record how it ended; None when it was cancelled, or another program has it. Documents
    that are on their way then are left to the workers of the queue."""
    library = _Library(lease, execute, max_bytes)
    try:
        return await library.ingest()
    except LeaseLost:
        return None
    except Exception as error:
        _log.exception("library_failed", job_id=str(lease.job.id))
        reason = str(error) if isinstance(error, LittleMonsterError) else "Ingestion broke off; try again."
        with contextlib.suppress(LeaseLost, DatabaseUnavailable):
            async with lease.transaction() as session:
                await lease.fail_in(session, "library_failed", reason)
        return JobStatus.FAILED
    finally:
        await library.leave()


async def fail_lost(lease: Lease) -> JobStatus | None:
    """Let a job fail whose program said nothing for a while, so that the queue has it now."""
    reason = "The program that read the library is gone; the same command goes on with the rest."
    try:
        async with lease.transaction() as session:
            await lease.fail_in(session, "program_lost", reason)
    except LeaseLost:
        return None
    return JobStatus.FAILED


class _Library:
    def __init__(self, lease: Lease, execute: Execute, max_bytes: int) -> None:
        self._lease, self._execute = lease, execute
        self._order = Order.of(lease.job.payload)
        family = f"{LIBRARY}:{lease.job.id}:"
        self._run = Run(lease.job.user_id, family, lease.worker, self._order.subject, max_bytes)
        self._tally = Tally()
        self._total = 0
        self._stage = "reading"

    async def ingest(self) -> JobStatus:
        """Do it all.

        Raises:
            LeaseLost: the job was cancelled, or another program has it.
        """
        await self._lease.progress("listing", 0.0)
        self._total = await asyncio.to_thread(self._count)
        work, beats = asyncio.ensure_future(self._work()), asyncio.ensure_future(self._beat())
        try:
            await asyncio.wait((work, beats), return_when=asyncio.FIRST_COMPLETED)
            return (work if work.done() else beats).result()
        finally:
            work.cancel()
            beats.cancel()
            await asyncio.gather(work, beats, return_exceptions=True)

    async def _work(self) -> JobStatus:
        async for ended in _in_thread(lambda: self._execute(self._order, self._run)):
            self._tally.add(ended)
        await self.leave()
        self._stage = "waiting"
        await self._wait()
        async with self._lease.transaction() as session:
            await self._tell(session)
            await self._lease.complete_in(session, self._tally.result(self._total))
        return JobStatus.COMPLETED

    async def leave(self) -> None:
        """Give what is left of this run to the workers of the queue, and wait for it as for theirs."""
        database, owner = self._lease.database, self._run.owner
        with contextlib.suppress(DatabaseUnavailable):
            async with database.session(owner) as session:
                left = await jobs.held_by(session, self._run.worker)
            for job in left:
                if job.subject_id is not None and await jobs.requeue(database, job.id, owner):
                    self._tally.waiting[job.subject_id] = job.payload[SOURCE]

    def _count(self) -> int:
        return sum(1 for _ in list_files(self._order.source, manifest=self._order.manifest))

    async def _beat(self) -> JobStatus:
        """Say every few seconds that everything lives, and what is done; raise `LeaseLost` when it is not."""
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                async with self._lease.transaction() as session:
                    await self._tell(session)
                    await jobs.touch(session, self._run.worker)
            await asyncio.sleep(min(BEAT_S, 1.0 + self._tally.done / 200))

    async def _tell(self, session: Session) -> None:
        done, total = self._tally.done, max(self._total, self._tally.done, 1)
        await self._lease.progress_in(session, self._stage, done / total, Counts(done, total, Unit.FILES))

    async def _wait(self) -> None:
        """Wait for the documents that workers of the queue have, and count them."""
        while some := [*self._tally.waiting][:500]:
            async with self._lease.transaction() as session:
                rows = await user_documents.get_many(session, some)
            there = {row.id: row for row in rows}
            settled = [self._tally.settle(key, there.get(key)) for key in some]
            if True not in settled:
                await asyncio.sleep(_WAIT_S)


async def _in_thread(rows: Callable[[], Iterator[Ended]]) -> AsyncIterator[Ended]:
    """Yield what an iterator yields that blocks, and that nobody waits for at the end of the program."""
    loop, found = asyncio.get_running_loop(), asyncio.Queue[Ended | Exception | None]()

    def pump() -> None:
        last: Exception | None = None
        try:
            for row in rows():
                loop.call_soon_threadsafe(found.put_nowait, row)
        except Exception as error:
            last = error
        with contextlib.suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(found.put_nowait, last)

    threading.Thread(target=pump, name="rows", daemon=True).start()
    while (row := await found.get()) is not None:
        if isinstance(row, Exception):
            raise row
        yield row


async def _main(job_id: UUID) -> int:
    from little_monster.pipelines.library.cluster import execute
    from little_monster.platform.resources import open_database

    settings = load_settings()
    database = open_database(settings)
    try:
        lease = await begin(database, job_id)
        if lease is None:
            return 1
        status = await ingest_library(lease, execute, settings.upload.max_bytes)
    finally:
        await database.close()
    return 0 if status == JobStatus.COMPLETED else 1


if __name__ == "__main__":
    # Ray starts it in a session of its own, as low as it is itself.
    give_way(os.getpriority(os.PRIO_PROCESS, 0))
    sys.exit(asyncio.run(_main(UUID(sys.argv[1]))))

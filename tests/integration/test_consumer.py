"""Workers share one queue, hear of new jobs at once, and stop without losing any."""

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from little_monster.db import queue as entries
from little_monster.db.base import new_id
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.pipelines import retries
from little_monster.pipelines.consumer import Consumer, Routine, Work
from little_monster.pipelines.leases import Lease

# A worker of its own process, which says that it has the job, and then never ends it.
HANGING_WORKER = """
import asyncio, sys
from little_monster.db.engine import create_engine
from little_monster.db.session import Database
from little_monster.pipelines.consumer import Consumer

async def hang(lease):
    print("started", flush=True)
    await asyncio.sleep(600)

url, kind = sys.argv[1:]
asyncio.run(Consumer(Database(create_engine(url)), url, {kind: hang}).run(asyncio.Event()))
"""


async def complete(lease: Lease) -> JobStatus:
    async with lease.transaction() as session:
        await lease.complete_in(session, {})
    return JobStatus.COMPLETED


class Queue:
    """Jobs of a kind of their own, so that no other test's worker takes them."""

    def __init__(self, database: Database, url: str, user_id: UUID) -> None:
        self.database, self.url, self.user_id = database, url, user_id
        self.kind = f"test-{new_id()}"

    async def add(self, count: int = 1, **values: Any) -> list[UUID]:
        async with self.database.session(self.user_id) as session:
            return [
                (
                    await jobs.create(
                        session, user_id=self.user_id, kind=self.kind, subject_id=new_id(), **values
                    )
                ).id
                for _ in range(count)
            ]

    async def jobs(self) -> list[Job]:
        async with self.database.session(self.user_id) as session:
            return await jobs.list(session, limit=1000)

    async def statuses(self) -> Counter[JobStatus]:
        return Counter(job.status for job in await self.jobs())

    async def until(self, status: JobStatus, count: int, timeout_s: float = 15.0) -> None:
        async with asyncio.timeout(timeout_s):
            while (await self.statuses())[status] < count:  # noqa: ASYNC110  It is another process that may write.
                await asyncio.sleep(0.02)

    async def entries(self) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.url)
        try:
            query = "SELECT status, attempts FROM queue.pgqueuer WHERE entrypoint = $1"
            return await connection.fetch(query, self.kind)
        finally:
            await connection.close()

    async def no_entries(self, timeout_s: float = 5.0) -> None:
        """PgQueuer writes the ends of entries down in batches."""
        async with asyncio.timeout(timeout_s):
            while await self.entries():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def consumer(self, work: Work, **options: Any) -> AsyncIterator[asyncio.Event]:
        """A running worker; the event stops it."""
        stop = asyncio.Event()
        consumer = Consumer(self.database, self.url, {self.kind: work}, **options)
        task = asyncio.create_task(consumer.run(stop))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)


@pytest.fixture
def queue(database: Database, postgres: Any, user_id: UUID) -> Queue:
    return Queue(database, postgres.app_url, user_id)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait a moment and not five seconds."""
    monkeypatch.setattr(retries, "FIRST_RETRY_S", 0.05)


async def test_two_workers_never_take_the_same_job(queue: Queue) -> None:
    taken: Counter[UUID] = Counter()
    by_worker: Counter[str] = Counter()

    def of(worker: str) -> Work:
        async def work(lease: Lease) -> JobStatus:
            taken[lease.job.id] += 1
            by_worker[worker] += 1
            await asyncio.sleep(0.02)
            return await complete(lease)

        return work

    added = await queue.add(30)
    async with queue.consumer(of("a")), queue.consumer(of("b")):
        await queue.until(JobStatus.COMPLETED, 30)
        await queue.no_entries()
    assert taken == Counter(dict.fromkeys(added, 1))
    assert by_worker.keys() == {"a", "b"}


async def test_no_more_than_its_share_at_once(queue: Queue) -> None:
    running, most = 0, 0

    async def work(lease: Lease) -> JobStatus:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return await complete(lease)

    await queue.add(7)
    async with queue.consumer(work, concurrency=3):
        await queue.until(JobStatus.COMPLETED, 7)
    assert most == 3


async def test_a_new_job_is_heard_of_at_once(queue: Queue) -> None:
    async with queue.consumer(complete, poll_s=60):
        await asyncio.sleep(0.5)
        await queue.add()
        await queue.until(JobStatus.COMPLETED, 1, timeout_s=3)


async def test_a_job_that_is_rolled_back_never_was_queued(queue: Queue) -> None:
    async with queue.database.session(queue.user_id) as session:
        await jobs.create(session, user_id=queue.user_id, kind=queue.kind)
        await session.rollback()
    assert (await queue.entries(), await queue.jobs()) == ([], [])


async def test_stopping_lets_jobs_end(queue: Queue) -> None:
    started = asyncio.Event()

    async def work(lease: Lease) -> JobStatus:
        started.set()
        await asyncio.sleep(0.3)
        return await complete(lease)

    await queue.add(5)
    async with queue.consumer(work) as stop:
        await started.wait()
        await asyncio.sleep(0.1)
        stop.set()
    assert await queue.statuses() == {JobStatus.COMPLETED: 2, JobStatus.QUEUED: 3}


async def test_stopping_gives_back_what_takes_too_long(queue: Queue) -> None:
    started = asyncio.Event()

    async def work(lease: Lease) -> None:
        started.set()
        await asyncio.sleep(60)

    await queue.add()
    async with queue.consumer(work, grace_s=0.1) as stop:
        await started.wait()
        stop.set()
    (job,) = await queue.jobs()
    assert (job.status, job.attempts, job.leased_by) == (JobStatus.QUEUED, 0, None)
    async with queue.consumer(complete):
        await queue.until(JobStatus.COMPLETED, 1)


async def test_a_job_of_a_killed_worker_is_taken_again(queue: Queue) -> None:
    await queue.add()
    command = [sys.executable, "-c", HANGING_WORKER, queue.url, queue.kind]
    killed = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert killed.stdout is not None
    async with asyncio.timeout(30):
        await killed.stdout.readuntil(b"started\n")
    killed.kill()
    await killed.wait()
    assert await queue.statuses() == {JobStatus.RUNNING: 1}
    async with queue.consumer(complete, silence_s=1.0):
        await queue.until(JobStatus.COMPLETED, 1)
    (job,) = await queue.jobs()
    assert job.attempts == 2


async def test_beats_hold_a_job_that_takes_long(queue: Queue) -> None:
    begun: list[UUID] = []

    async def work(lease: Lease) -> JobStatus:
        begun.append(lease.job.id)
        await asyncio.sleep(2.5)
        return await complete(lease)

    added = await queue.add()
    async with (
        queue.consumer(work, silence_s=1.0, poll_s=0.2),
        queue.consumer(work, silence_s=1.0, poll_s=0.2),
    ):
        await queue.until(JobStatus.COMPLETED, 1)
    assert begun == added


async def test_a_failure_is_tried_again_until_the_attempts_are_used_up(queue: Queue, at_once: None) -> None:
    async def fail(lease: Lease) -> JobStatus | None:
        return await retries.retry(lease, RuntimeError("no"), "broken", "It broke.")

    await queue.add(max_attempts=3)
    async with queue.consumer(fail, poll_s=0.2):
        await queue.until(JobStatus.FAILED, 1)
        await queue.no_entries()
    (job,) = await queue.jobs()
    assert (job.attempts, job.error_code) == (3, "broken")


async def test_a_pause_doubles_with_each_failure() -> None:
    assert [retries.pause(attempts).total_seconds() for attempts in (1, 2, 3, 4, 20)] == [5, 10, 20, 40, 300]


async def test_a_failure_that_could_not_be_recorded_does_not_end_the_worker(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.pipelines.consumer._AFTER_AN_OUTAGE", retries.timedelta(seconds=0.05))

    async def work(lease: Lease) -> JobStatus:
        if lease.job.attempts == 1:
            raise DatabaseUnavailable("away")
        return await complete(lease)

    await queue.add()
    async with queue.consumer(work):
        await queue.until(JobStatus.COMPLETED, 1)


async def test_cancelling_reaches_the_worker_at_once(queue: Queue) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work(lease: Lease) -> None:
        async def hang() -> None:
            started.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        await lease.guard(hang())

    (job_id,) = await queue.add()
    async with queue.consumer(work, poll_s=60):
        await started.wait()
        async with queue.database.session(queue.user_id) as session:
            assert await jobs.cancel(session, job_id)
        await asyncio.wait_for(ended.wait(), 2)
        await queue.no_entries()
    assert await queue.statuses() == {JobStatus.CANCELLED: 1}


async def test_a_lost_connection_is_made_again(queue: Queue, postgres: Any) -> None:
    async def work(lease: Lease) -> JobStatus:
        await asyncio.sleep(0.2)
        return await complete(lease)

    async with queue.consumer(work, silence_s=1.0, poll_s=60):
        await queue.add()
        await queue.until(JobStatus.COMPLETED, 1)
        owner = await asyncpg.connect(postgres.owner_url)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        )
        await owner.close()
        await queue.add(3)
        await queue.until(JobStatus.COMPLETED, 4)


async def test_a_job_whose_entry_is_gone_waits_again(queue: Queue, postgres: Any) -> None:
    kept, lost = await queue.add(2)
    owner = await asyncpg.connect(postgres.owner_url)
    await owner.execute("DELETE FROM queue.pgqueuer WHERE dedupe_key = $1", str(lost))
    await owner.close()
    await jobs.requeue_lost(queue.database)
    assert len(await queue.entries()) == 1, "they were made a moment ago"
    assert await jobs.requeue_lost(queue.database, untouched_s=0) >= 1
    assert await jobs.requeue_lost(queue.database, untouched_s=0) == 0
    assert len(await queue.entries()) == 2
    async with queue.consumer(complete):
        await queue.until(JobStatus.COMPLETED, 2)
    assert {job.id for job in await queue.jobs()} == {kept, lost}


async def test_routines_are_done_by_one_worker_whatever_fails(queue: Queue) -> None:
    done: list[float] = []

    async def work() -> None:
        done.append(asyncio.get_running_loop().time())
        if len(done) == 1:
            raise RuntimeError("an error of ours")
        if len(done) == 2:
            raise DatabaseUnavailable("away")

    routines = (Routine(f"test-{new_id()}", "* * * * * *", work),)
    async with queue.consumer(complete, routines=routines), queue.consumer(complete, routines=routines):
        async with asyncio.timeout(15):
            while len(done) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await queue.add()
        await queue.until(JobStatus.COMPLETED, 1)
    assert all(later - earlier > 0.5 for earlier, later in itertools.pairwise(done))


async def test_others_see_neither_entry_nor_job(queue: Queue, new_user: Any) -> None:
    (job_id,) = await queue.add()
    async with queue.database.session(await new_user()) as session:
        assert not await jobs.cancel(session, job_id)
        assert await entries.count(session) == 0
    async with queue.database.session(queue.user_id) as session:
        assert await entries.count(session) == 1
    async with queue.database.session(None) as session:
        assert await entries.count(session) >= 1

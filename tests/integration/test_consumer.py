"""Workers share one queue, hear of new jobs at once, and stop without losing any."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from little_monster.db.base import new_id
from little_monster.db.listen import listen
from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.pipelines import ingest
from little_monster.pipelines.consumer import Consumer
from little_monster.pipelines.leases import Lease


async def complete(lease: Lease) -> str:
    async with lease.transaction() as session:
        await lease.complete_in(session, {})
    return "completed"


async def no_calls() -> AsyncIterator[str]:
    await asyncio.Event().wait()
    yield ""


class Queue:
    """Jobs of a kind of their own, so that no other test's worker takes them."""

    def __init__(self, database: Database, user_id: UUID) -> None:
        self.database, self.user_id, self.kind = database, user_id, f"test-{new_id()}"

    async def add(self, count: int = 1) -> list[UUID]:
        async with self.database.session(self.user_id) as session:
            return [
                (await jobs.create(session, user_id=self.user_id, kind=self.kind, subject_id=new_id())).id
                for _ in range(count)
            ]

    async def statuses(self) -> Counter[JobStatus]:
        async with self.database.session(self.user_id) as session:
            return Counter(job.status for job in await jobs.list(session, limit=1000))

    async def until(self, status: JobStatus, count: int, timeout_s: float = 15.0) -> None:
        async with asyncio.timeout(timeout_s):
            while (await self.statuses())[status] < count:  # noqa: ASYNC110  It is another process that may write.
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def consumer(
        self,
        work: Callable[[Lease], Awaitable[object]],
        calls: AsyncIterator[str] | None = None,
        **options: float,
    ) -> AsyncIterator[asyncio.Event]:
        """A running worker; the event stops it."""
        stop = asyncio.Event()
        consumer = Consumer(
            self.database,
            worker=str(new_id()),
            kinds=[self.kind],
            work=work,
            release=ingest.release,
            **{"poll_s": 0.1, **options},  # type: ignore[arg-type]
        )
        task = asyncio.create_task(consumer.run(stop, calls or no_calls()))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)


@pytest.fixture
def queue(database: Database, user_id: UUID) -> Queue:
    return Queue(database, user_id)


async def test_two_workers_never_take_the_same_job(queue: Queue) -> None:
    taken: Counter[UUID] = Counter()
    by_worker: Counter[str] = Counter()

    async def work(lease: Lease) -> str:
        taken[lease.job.id] += 1
        by_worker[lease.worker] += 1
        await asyncio.sleep(0.02)
        return await complete(lease)

    added = await queue.add(30)
    async with queue.consumer(work, poll_s=0.05), queue.consumer(work, poll_s=0.05):
        await queue.until(JobStatus.COMPLETED, 30)
    assert taken == Counter(dict.fromkeys(added, 1))
    assert len(by_worker) == 2


async def test_no_more_than_its_share_at_once(queue: Queue) -> None:
    running, most = 0, 0

    async def work(lease: Lease) -> str:
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


async def test_a_new_job_is_heard_of_at_once(queue: Queue, postgres) -> None:  # type: ignore[no-untyped-def]
    calls = listen(postgres.app_url, jobs.CHANNEL)
    async with queue.consumer(complete, calls, poll_s=60):
        await asyncio.sleep(0.5)
        await queue.add()
        await queue.until(JobStatus.COMPLETED, 1, timeout_s=3)
    await calls.aclose()  # type: ignore[attr-defined]


async def test_stopping_lets_jobs_end(queue: Queue) -> None:
    started = asyncio.Event()

    async def work(lease: Lease) -> str:
        started.set()
        await asyncio.sleep(0.3)
        return await complete(lease)

    await queue.add(3)
    async with queue.consumer(work, concurrency=1) as stop:
        await started.wait()
        stop.set()
    assert await queue.statuses() == {JobStatus.COMPLETED: 1, JobStatus.QUEUED: 2}


async def test_stopping_gives_back_what_takes_too_long(queue: Queue) -> None:
    started = asyncio.Event()

    async def work(lease: Lease) -> None:
        started.set()
        await asyncio.sleep(60)

    await queue.add()
    async with queue.consumer(work, grace_s=0.1) as stop:
        await started.wait()
        stop.set()
    assert await queue.statuses() == {JobStatus.QUEUED: 1}
    async with queue.consumer(complete):
        await queue.until(JobStatus.COMPLETED, 1)


async def test_a_job_of_a_lost_worker_is_taken_again(queue: Queue) -> None:
    async with queue.database.session(None) as session:
        assert not await jobs.claim(session, worker="x", kinds=[queue.kind], limit=1, lease_s=1)
    await queue.add()
    async with queue.database.session(None) as session:
        await jobs.claim(session, worker="dead", kinds=[queue.kind], limit=1, lease_s=0.2)
    async with queue.consumer(complete):
        await queue.until(JobStatus.COMPLETED, 1)


async def test_a_failure_to_record_does_not_end_the_worker(queue: Queue) -> None:
    async def work(lease: Lease) -> str:
        if lease.job.attempts == 1:
            raise RuntimeError("the database was away")
        return await complete(lease)

    await queue.add()
    async with queue.consumer(work, lease_s=0.2):
        await queue.until(JobStatus.COMPLETED, 1)

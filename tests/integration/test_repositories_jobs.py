import asyncio

import pytest
from sqlalchemy import text

from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.listen import listen
from little_monster.db.models import EmbeddingStatus, FileType, Job, JobStatus
from little_monster.db.repositories import jobs, user_documents
from little_monster.db.session import Database


@pytest.fixture
def kind():
    """A kind of this test alone: the queue is one for all."""
    return f"kind-{new_id()}"


@pytest.fixture
def new_job(database, user_id, kind):
    async def make(**values) -> Job:
        async with database.session(user_id) as session:
            return await jobs.create(session, user_id=user_id, **{"kind": kind, **values})

    return make


@pytest.fixture
def claim(database, kind):
    async def take(worker="w1", *, limit=1000, lease_s=30.0, of=None):
        async with database.session(None) as session:
            return await jobs.claim(session, worker=worker, kinds=[of or kind], limit=limit, lease_s=lease_s)

    return take


@pytest.fixture
def as_owner(database, user_id):
    async def call(function, *args, **values):
        async with database.session(user_id) as session:
            return await function(session, *args, **values)

    return call


async def test_a_job_from_queue_to_end(new_job, claim, as_owner, user_id, kind):
    subject = new_id()
    job = await new_job(subject_id=subject, payload={"a": [1]})
    (claimed,) = await claim()
    assert (claimed.id, claimed.user_id, claimed.kind, claimed.subject_id) == (job.id, user_id, kind, subject)
    assert (claimed.payload, claimed.attempts, claimed.max_attempts) == ({"a": [1]}, 1, 3)
    assert await as_owner(jobs.progress, job.id, worker="w1", stage="parsing", fraction=0.25)
    running = await as_owner(jobs.get, job.id)
    assert (running.status, running.stage, running.progress) == (JobStatus.RUNNING, "parsing", 0.25)
    assert running.started_at is not None
    assert await as_owner(jobs.heartbeat, job.id, worker="w1", lease_s=60)
    assert (await as_owner(jobs.get, job.id)).leased_until > running.leased_until
    assert await as_owner(jobs.complete, job.id, worker="w1", result={"chunks": 2})
    done = await as_owner(jobs.get, job.id)
    assert (done.status, done.progress, done.result) == (JobStatus.COMPLETED, 1.0, {"chunks": 2})
    assert (done.leased_by, done.leased_until) == (None, None)
    assert done.finished_at >= done.started_at
    assert await claim() == []


async def test_workers_at_once_never_take_the_same_job(new_job, claim):
    made = {(await new_job()).id for _ in range(20)}
    taken = await asyncio.gather(*(claim(f"w{i}", limit=3) for i in range(10)))
    ids = [job.id for batch in taken for job in batch]
    assert len(ids) == len(set(ids)) == 20
    assert set(ids) == made


async def test_the_oldest_first_and_only_the_kinds_asked_for(new_job, claim):
    first = await new_job()
    await new_job()
    await new_job(kind=f"other-{new_id()}")
    assert [job.id for job in await claim(limit=1)] == [first.id]
    assert len(await claim()) == 1


async def test_a_lost_worker_loses_the_job(new_job, claim, as_owner):
    job = await new_job()
    await claim("lost", lease_s=0)
    (again,) = await claim("w2")
    assert (again.id, again.attempts) == (job.id, 2)
    assert not await as_owner(jobs.heartbeat, job.id, worker="lost", lease_s=30)
    assert not await as_owner(jobs.progress, job.id, worker="lost", stage="x", fraction=0.5)
    assert not await as_owner(jobs.complete, job.id, worker="lost")
    assert not await as_owner(jobs.fail, job.id, worker="lost", code="x", reason="x")
    assert await as_owner(jobs.retry_later, job.id, worker="lost", delay_s=0, code="x", reason="x") is None
    assert await as_owner(jobs.complete, job.id, worker="w2")


async def test_workers_lost_too_often_fail_the_job_and_its_document(database, as_owner, user_id, claim):
    document_id = new_id()
    await as_owner(
        user_documents.create,
        document_id=document_id,
        user_id=user_id,
        title="T",
        file_type=FileType.TXT,
        file_url="k",
        file_size=1,
        content_hash="00",
    )
    job = await as_owner(
        jobs.create, user_id=user_id, kind="ingest_document", subject_id=document_id, max_attempts=2
    )
    for attempt in (1, 2):
        taken = await claim("lost", lease_s=0, of="ingest_document")
        assert [(one.id, one.attempts) for one in taken if one.id == job.id] == [(job.id, attempt)]
    assert job.id not in [one.id for one in await claim(of="ingest_document")]
    failed, document = await as_owner(jobs.get, job.id), await as_owner(user_documents.get, document_id)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "worker_lost")
    assert failed.finished_at is not None
    assert (document.embedding_status, document.error_code) == (EmbeddingStatus.FAILED, "worker_lost")
    assert document.error_reason == "The worker stopped before the job was done, 2 times."


async def test_a_retry_waits_and_the_last_one_fails(new_job, claim, as_owner):
    job = await new_job(max_attempts=2)
    await claim()
    again = await as_owner(jobs.retry_later, job.id, worker="w1", delay_s=0.2, code="away", reason="Away.")
    assert again is JobStatus.QUEUED
    assert await claim() == []
    await asyncio.sleep(0.3)
    assert len(await claim()) == 1
    again = await as_owner(jobs.retry_later, job.id, worker="w1", delay_s=0, code="away", reason="Away.")
    assert again is JobStatus.FAILED
    failed = await as_owner(jobs.get, job.id)
    assert (failed.error_code, failed.error_reason, failed.leased_by) == ("away", "Away.", None)
    assert failed.finished_at is not None


async def test_a_failure_says_why(new_job, claim, as_owner):
    job = await new_job()
    await claim()
    assert await as_owner(jobs.fail, job.id, worker="w1", code="pdf_encrypted", reason="It has a password.")
    failed = await as_owner(jobs.get, job.id)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "pdf_encrypted")
    assert await claim() == []


async def test_a_cancelled_job_is_taken_from_its_worker(new_job, claim, as_owner):
    queued, running = await new_job(), await new_job()
    assert await as_owner(jobs.cancel, queued.id)
    assert [job.id for job in await claim()] == [running.id]
    assert await as_owner(jobs.cancel, running.id)
    assert not await as_owner(jobs.heartbeat, running.id, worker="w1", lease_s=30)
    assert not await as_owner(jobs.cancel, running.id)


async def test_all_jobs_on_one_thing_are_cancelled(new_job, claim, as_owner):
    subject = new_id()
    for _ in range(2):
        await new_job(subject_id=subject)
    kept = await new_job(subject_id=new_id())
    assert await as_owner(jobs.cancel_for, subject) == 2
    assert [job.id for job in await claim()] == [kept.id]


async def test_lists(new_job, as_owner):
    subject = new_id()
    made = [await new_job(subject_id=subject) for _ in range(3)]
    await new_job()
    first = await as_owner(jobs.list, limit=2, subject_id=subject)
    rest = await as_owner(jobs.list, limit=2, after=jobs.key(first[-1]), subject_id=subject)
    assert [row.id for row in first + rest] == [row.id for row in reversed(made)]
    assert await as_owner(jobs.list, limit=2, status=JobStatus.FAILED) == []


async def test_somebody_elses_job_looks_missing(database, new_user, new_job):
    job = await new_job()
    async with database.session(await new_user()) as session:
        assert await jobs.get(session, job.id) is None
        assert not await jobs.cancel(session, job.id)
        assert await jobs.list(session, limit=5) == []


async def next_word(words, wanted: str) -> None:
    async with asyncio.timeout(10):
        async for word in words:
            if word == wanted:
                return


async def test_listeners_hear_of_queued_jobs_and_connect_again(postgres, new_job, kind):
    words = listen(postgres.app_url, jobs.CHANNEL)
    await next_word(words, "")
    await new_job()
    await next_word(words, kind)
    owner = Database(create_engine(postgres.owner_url, pool_size=1))
    async with owner.session(None) as session:
        await session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        )
    await next_word(words, "")
    await new_job()
    await next_word(words, kind)
    await words.aclose()
    await owner.close()

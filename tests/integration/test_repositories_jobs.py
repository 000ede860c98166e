import pytest

from little_monster.db.base import new_id
from little_monster.db.models import EmbeddingStatus, FileType, Job, JobStatus
from little_monster.db.repositories import jobs, user_documents


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
def begin(database):
    async def take(job_id, worker="w1"):
        async with database.session(None) as session:
            return await jobs.begin(session, job_id, worker=worker)

    return take


@pytest.fixture
def as_owner(database, user_id):
    async def call(function, *args, **values):
        async with database.session(user_id) as session:
            return await function(session, *args, **values)

    return call


async def test_a_job_from_queue_to_end(new_job, begin, as_owner, user_id, kind):
    subject = new_id()
    job = await new_job(subject_id=subject, payload={"a": [1]})
    claimed = await begin(job.id)
    assert (claimed.id, claimed.user_id, claimed.kind, claimed.subject_id) == (job.id, user_id, kind, subject)
    assert (claimed.payload, claimed.attempts, claimed.max_attempts) == ({"a": [1]}, 1, 3)
    assert await as_owner(jobs.progress, job.id, worker="w1", stage="parsing", fraction=0.25)
    running = await as_owner(jobs.get, job.id)
    assert (running.status, running.stage, running.progress) == (JobStatus.RUNNING, "parsing", 0.25)
    assert running.started_at is not None
    assert await as_owner(jobs.complete, job.id, worker="w1", result={"chunks": 2})
    done = await as_owner(jobs.get, job.id)
    assert (done.status, done.progress, done.result) == (JobStatus.COMPLETED, 1.0, {"chunks": 2})
    assert done.leased_by is None
    assert done.finished_at >= done.started_at
    assert await begin(job.id) is None
    assert await begin(new_id()) is None


async def test_who_begins_a_job_takes_it_from_who_had_it(new_job, begin, as_owner):
    job = await new_job()
    await begin(job.id, "lost")
    again = await begin(job.id, "w2")
    assert (again.id, again.attempts) == (job.id, 2)
    assert not await as_owner(jobs.progress, job.id, worker="lost", stage="x", fraction=0.5)
    assert not await as_owner(jobs.complete, job.id, worker="lost")
    assert not await as_owner(jobs.fail, job.id, worker="lost", code="x", reason="x")
    assert not await as_owner(jobs.give_back, job.id, worker="lost")
    assert await as_owner(jobs.retry, job.id, worker="lost", code="x", reason="x") is None
    assert await as_owner(jobs.complete, job.id, worker="w2")


async def test_workers_lost_too_often_fail_the_job_and_its_document(as_owner, user_id, begin):
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
    assert [(await begin(job.id, "lost")).attempts for _ in range(2)] == [1, 2]
    assert await begin(job.id) is None
    failed, document = await as_owner(jobs.get, job.id), await as_owner(user_documents.get, document_id)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "worker_lost")
    assert failed.finished_at is not None
    assert (document.embedding_status, document.error_code) == (EmbeddingStatus.FAILED, "worker_lost")
    assert document.error_reason == "The worker stopped before the job was done, 2 times."


async def test_the_last_retry_fails(new_job, begin, as_owner):
    job = await new_job(max_attempts=2)
    await begin(job.id)
    again = await as_owner(jobs.retry, job.id, worker="w1", code="away", reason="Away.")
    assert again is JobStatus.QUEUED
    await begin(job.id)
    again = await as_owner(jobs.retry, job.id, worker="w1", code="away", reason="Away.")
    assert again is JobStatus.FAILED
    failed = await as_owner(jobs.get, job.id)
    assert (failed.error_code, failed.error_reason, failed.leased_by) == ("away", "Away.", None)
    assert failed.finished_at is not None


async def test_an_attempt_that_is_given_back_does_not_count(new_job, begin, as_owner):
    job = await new_job(max_attempts=1)
    for _ in range(3):
        assert (await begin(job.id)).attempts == 1
        assert await as_owner(jobs.give_back, job.id, worker="w1")
    assert (await as_owner(jobs.get, job.id)).status == JobStatus.QUEUED


async def test_a_failure_says_why(new_job, begin, as_owner):
    job = await new_job()
    await begin(job.id)
    assert await as_owner(jobs.fail, job.id, worker="w1", code="pdf_encrypted", reason="It has a password.")
    failed = await as_owner(jobs.get, job.id)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "pdf_encrypted")
    assert await begin(job.id) is None


async def test_a_cancelled_job_is_taken_from_its_worker(new_job, begin, as_owner):
    queued, running = await new_job(), await new_job()
    await begin(running.id)
    for job in (queued, running):
        assert await as_owner(jobs.cancel, job.id)
        assert not await as_owner(jobs.cancel, job.id)
        assert await begin(job.id) is None
    assert not await as_owner(jobs.progress, running.id, worker="w1", stage="x", fraction=0.5)


async def test_all_jobs_on_one_thing_are_cancelled(new_job, begin, as_owner):
    subject = new_id()
    made = [await new_job(subject_id=subject) for _ in range(2)]
    kept = await new_job(subject_id=new_id())
    assert await as_owner(jobs.cancel_for, subject) == 2
    assert [await begin(job.id) for job in made] == [None, None]
    assert await begin(kept.id) is not None


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

"""Following a job, and cancelling one."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.base import new_id
from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, FileType
from little_monster.db.repositories import jobs, user_documents
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.session import Database
from little_monster.platform.settings import Settings

Register = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Work:
    """A job of a kind of its own, and its worker."""

    database: Database
    user_id: UUID
    job_id: UUID
    kind: str

    async def start(self) -> None:
        async with self.database.session(None) as session:
            assert await jobs.begin(session, self.job_id, worker="test")

    async def advance(self, stage: str, fraction: float, counts: Counts | None = None) -> bool:
        async with self.database.session(self.user_id) as session:
            return await jobs.progress(
                session, self.job_id, worker="test", stage=stage, fraction=fraction, counts=counts
            )

    async def complete(self, result: dict[str, Any] | None = None) -> None:
        async with self.database.session(self.user_id) as session:
            assert await jobs.complete(session, self.job_id, worker="test", result=result)

    async def fail(self) -> None:
        async with self.database.session(self.user_id) as session:
            assert await jobs.fail(session, self.job_id, worker="test", code="broken", reason="It broke.")

    async def status(self) -> JobStatus:
        async with self.database.session(self.user_id) as session:
            job = await jobs.get(session, self.job_id)
        assert job is not None
        return job.status


Make = Callable[..., Awaitable[Work]]


@pytest.fixture
def make(database: Database) -> Make:
    async def queue(account: Any, subject_id: UUID | None = None) -> Work:
        user_id, kind = UUID(account.user["id"]), f"test-{new_id()}"
        async with database.session(user_id) as session:
            job = await jobs.create(session, user_id=user_id, kind=kind, subject_id=subject_id)
        return Work(database, user_id, job.id, kind)

    return queue


@pytest.fixture
async def work(make: Make, account: Any) -> Work:
    return await make(account)


@dataclass(frozen=True)
class Event:
    number: int
    name: str
    job: dict[str, Any]


def events_of(response: httpx.Response) -> list[Event]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def follow(client: httpx.AsyncClient, account: Any, work: Work) -> list[Event]:
    path = f"/api/v1/jobs/{work.job_id}/events"
    return events_of(await client.get(path, headers=account.headers))


async def cancel(client: httpx.AsyncClient, account: Any, job_id: UUID) -> httpx.Response:
    return await client.post(f"/api/v1/jobs/{job_id}/cancel", headers=account.headers)


async def test_a_job_is_followed_to_its_end(client: httpx.AsyncClient, account: Any, work: Work) -> None:
    following = asyncio.create_task(follow(client, account, work))
    await asyncio.sleep(0.3)
    await work.start()
    assert await work.advance("parsing", 0.25)
    await asyncio.sleep(1.6)
    await work.complete()
    events = await asyncio.wait_for(following, 5)
    assert [(one.name, one.job["status"], one.job["stage"], one.job["progress"]) for one in events] == [
        ("status", "queued", None, 0),
        ("status", "running", "parsing", 0.25),
        ("done", "completed", "parsing", 1),
    ]
    assert isinstance(events[1].job["eta_seconds"], int)
    assert {one.job["id"] for one in events} == {str(work.job_id)}
    numbers = [one.number for one in events]
    assert numbers == sorted(set(numbers))


async def test_counts_and_the_result_are_told(client: httpx.AsyncClient, account: Any, work: Work) -> None:
    await work.start()
    assert await work.advance("embedding", 0.5, Counts(0, 120, Unit.CHUNKS))
    following = asyncio.create_task(follow(client, account, work))
    await asyncio.sleep(0.3)
    # Only the count moves.
    assert await work.advance("embedding", 0.5, Counts(32, 120, Unit.CHUNKS))
    await asyncio.sleep(0.8)
    assert await work.advance("indexing", 0.5)
    await asyncio.sleep(0.8)
    assert await work.advance("files", 0.9, Counts(3, 3, Unit.FILES))
    await work.complete({"files": 3})
    events = await asyncio.wait_for(following, 5)
    assert [(one.job["stage"], one.job["counts"], one.job["result"]) for one in events] == [
        ("embedding", {"done": 0, "total": 120, "unit": "chunks"}, None),
        ("embedding", {"done": 32, "total": 120, "unit": "chunks"}, None),
        ("indexing", None, None),
        ("files", {"done": 3, "total": 3, "unit": "files"}, {"files": 3}),
    ]
    shown = await client.get(f"/api/v1/jobs/{work.job_id}", headers=account.headers)
    assert shown.json() == events[-1].job


async def test_who_connects_again_is_told_how_it_stands(
    client: httpx.AsyncClient, account: Any, work: Work
) -> None:
    await work.start()
    await work.advance("parsing", 0.5)
    await work.fail()
    headers = {**account.headers, "Last-Event-ID": "17"}
    response = await client.get(f"/api/v1/jobs/{work.job_id}/events", headers=headers)
    (event,) = events_of(response)
    assert (event.name, event.job["error"]) == ("failed", {"code": "broken", "reason": "It broke."})
    assert event.job == (await client.get(f"/api/v1/jobs/{work.job_id}", headers=account.headers)).json()
    assert response.text.startswith("retry: ")


async def test_cancelling_ends_the_stream(client: httpx.AsyncClient, account: Any, work: Work) -> None:
    following = asyncio.create_task(follow(client, account, work))
    await asyncio.sleep(0.3)
    assert (await cancel(client, account, work.job_id)).status_code == 200
    events = await asyncio.wait_for(following, 5)
    assert [one.name for one in events] == ["status", "cancelled"]


async def test_a_stream_closes_after_a_while(
    settings: Settings,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    client_of: Callable[..., httpx.AsyncClient],
    account: Any,
    work: Work,
) -> None:
    api = settings.api.model_copy(update={"job_stream_s": 0.1, "heartbeat_s": 0.2})
    async with running(settings.model_copy(update={"api": api})) as app, client_of(app) as client:
        path = f"/api/v1/jobs/{work.job_id}/events"
        response = await asyncio.wait_for(client.get(path, headers=account.headers), 3)
    assert [one.name for one in events_of(response)] == ["status"]
    assert response.text.endswith(": keep-alive\n\n")


@pytest.mark.parametrize(("method", "verb"), [("GET", "events"), ("POST", "cancel")])
async def test_somebody_elses_job_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Register, work: Work, method: str, verb: str
) -> None:
    eve = await register()
    theirs, missing = [
        await client.request(method, f"/api/v1/jobs/{job_id}/{verb}", headers=eve.headers)
        for job_id in (work.job_id, new_id())
    ]
    assert (theirs.status_code, missing.status_code) == (404, 404)
    assert theirs.json()["detail"] == missing.json()["detail"] == "There is no such job."
    assert (await client.request(method, f"/api/v1/jobs/x/{verb}", headers=eve.headers)).status_code == 422
    assert (await client.request(method, f"/api/v1/jobs/{work.job_id}/{verb}")).status_code == 401
    assert await work.status() == JobStatus.QUEUED


async def test_a_queued_job_is_cancelled_once_and_for_all(
    client: httpx.AsyncClient, account: Any, work: Work
) -> None:
    first = await cancel(client, account, work.job_id)
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert first.json()["finished_at"] is not None
    again = await cancel(client, account, work.job_id)
    assert (again.status_code, again.json()) == (200, first.json())
    async with work.database.session(None) as session:
        assert await jobs.begin(session, work.job_id, worker="test") is None


async def test_a_running_job_is_taken_from_its_worker(
    client: httpx.AsyncClient, account: Any, work: Work
) -> None:
    await work.start()
    assert await work.advance("parsing", 0.5)
    assert (await cancel(client, account, work.job_id)).json()["status"] == "cancelled"
    assert not await work.advance("parsing", 0.6)
    assert not await work.advance("parsing", 0.5)


@pytest.mark.parametrize("end", ["complete", "fail"])
async def test_what_has_ended_cannot_be_cancelled(
    client: httpx.AsyncClient, account: Any, work: Work, end: str
) -> None:
    await work.start()
    await getattr(work, end)()
    before = await work.status()
    response = await cancel(client, account, work.job_id)
    assert (response.status_code, response.json()["code"]) == (409, "job_ended")
    assert await work.status() == before


@pytest.mark.parametrize(
    ("status", "code"), [(EmbeddingStatus.PENDING, "job_cancelled"), (EmbeddingStatus.COMPLETED, None)]
)
async def test_a_document_that_is_not_read_any_more_has_failed(
    client: httpx.AsyncClient, account: Any, make: Make, status: EmbeddingStatus, code: str | None
) -> None:
    document_id = new_id()
    work = await make(account, document_id)
    async with work.database.session(work.user_id) as session:
        await user_documents.create(
            session,
            document_id=document_id,
            user_id=work.user_id,
            title="Cells",
            file_type=FileType.TXT,
            file_url=f"{work.user_id}/{document_id}/original",
            file_size=1,
            content_hash=sha256(b"a").hexdigest(),
        )
        await user_documents.set_status(session, document_id, status)
    await cancel(client, account, work.job_id)
    document = (await client.get(f"/api/v1/documents/{document_id}", headers=account.headers)).json()
    assert document["status"] == ("failed" if code else "completed")
    assert (document["error"] or {}).get("code") == code

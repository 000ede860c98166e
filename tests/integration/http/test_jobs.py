"""Jobs of one user, in pages."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx

from little_monster.db.base import new_id
from little_monster.db.repositories import jobs
from little_monster.db.session import Database


async def queue(database: Database, user_id: UUID, count: int) -> list[str]:
    made = []
    for _ in range(count):
        async with database.session(user_id) as session:
            made.append(
                str(
                    (
                        await jobs.create(
                            session, user_id=user_id, kind="ingest_document", subject_id=new_id()
                        )
                    ).id
                )
            )
    return made


async def test_job_of_ones_own(client: httpx.AsyncClient, account: Any, database: Database) -> None:
    (job_id,) = await queue(database, UUID(account.user["id"]), 1)
    job = (await client.get(f"/api/v1/jobs/{job_id}", headers=account.headers)).json()
    assert (job["status"], job["progress"], job["eta_seconds"], job["error"]) == ("queued", 0, None, None)
    assert job["_links"]["self"]["href"] == f"/api/v1/jobs/{job_id}"
    assert job["_links"]["document"]["href"].startswith("/api/v1/documents/")


async def test_failed_job_says_why(client: httpx.AsyncClient, account: Any, database: Database) -> None:
    user_id = UUID(account.user["id"])
    (job_id,) = await queue(database, user_id, 1)
    await _work(database, user_id, UUID(job_id))
    job = (await client.get(f"/api/v1/jobs/{job_id}", headers=account.headers)).json()
    assert job["status"] == "failed"
    assert job["stage"] == "parsing"
    assert job["error"] == {"code": "pdf_encrypted", "reason": "The PDF is encrypted."}


async def test_somebody_elses_job_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], database: Database
) -> None:
    ada, eve = await register(), await register()
    (job_id,) = await queue(database, UUID(ada.user["id"]), 1)
    theirs = await client.get(f"/api/v1/jobs/{job_id}", headers=eve.headers)
    missing = await client.get(f"/api/v1/jobs/{new_id()}", headers=eve.headers)
    assert (theirs.status_code, missing.status_code) == (404, 404)
    assert theirs.json()["code"] == missing.json()["code"] == "not_found"
    assert theirs.json()["detail"] == missing.json()["detail"]
    assert (await client.get("/api/v1/jobs", headers=eve.headers)).json()["items"] == []


async def test_pages_are_stable_while_jobs_are_added(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    user_id = UUID(account.user["id"])
    made = await queue(database, user_id, 5)
    seen: list[str] = []
    url: str | None = "/api/v1/jobs?limit=2"
    while url:
        response = await client.get(url, headers=account.headers)
        body = response.json()
        seen += [job["id"] for job in body["items"]]
        url = body["_links"].get("next", {}).get("href")
        assert (body["next_cursor"] is None) == (url is None)
        assert ('rel="next"' in response.headers["link"]) == (url is not None)
        await queue(database, user_id, 1)
    assert seen == made[::-1]


async def _work(database: Database, user_id: UUID, job_id: UUID) -> None:
    """Let a worker fail the job."""
    async with database.session(None) as session:
        await jobs.begin(session, job_id, worker="test")
    async with database.session(user_id) as session:
        assert await jobs.progress(session, job_id, worker="test", stage="parsing", fraction=0.5)
        assert await jobs.fail(
            session, job_id, worker="test", code="pdf_encrypted", reason="The PDF is encrypted."
        )

"""Everything of an account in one file: asked for, written by the worker, downloaded."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zipfile import ZipFile

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from little_monster.db.base import Base, new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models.chat_messages import MessageRole
from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.totp_credentials import TotpCredential
from little_monster.db.repositories import (
    chat_conversations,
    chat_messages,
    document_chunks,
    exports,
    jobs,
    notifications,
)
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.exports import LEFT_OUT, SECTIONS
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.session import Database
from little_monster.pipelines import export
from little_monster.pipelines.export import ExportParts
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.reconcile import ReconcileParts, reconcile
from little_monster.platform.errors import NotFound, Unavailable
from little_monster.platform.resources import Resources
from little_monster.platform.services.exports import EXPORT, delete_expired, key_of
from tests.fixtures.shelves import EmptyShelf
from tests.fixtures.videos import draft, show
from tests.fixtures.watch import PASSWORD

Register = Callable[[], Awaitable[Any]]


@pytest.fixture
def resources(app: FastAPI) -> Resources:
    opened: Resources = app.state.resources
    return opened


@dataclass(frozen=True)
class Desk:
    """What an account asks of the API, and the worker that answers."""

    client: httpx.AsyncClient
    resources: Resources

    async def request(self, account: Any) -> dict[str, Any]:
        response = await self.client.post("/api/v1/users/me/export", headers=account.headers)
        assert response.status_code == 202, response.text
        job: dict[str, Any] = response.json()
        assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
        return job

    async def take(self, account: Any, job_id: str) -> Lease:
        """Begin the job as the worker does."""
        async with self.resources.database.session(None) as session:
            job = await jobs.begin(session, UUID(job_id), worker="test")
        assert job is not None
        assert str(job.user_id) == account.user["id"]
        return Lease(self.resources.database, job, "test")

    async def work(self, lease: Lease) -> JobStatus | None:
        parts = ExportParts(self.resources.database, self.resources.storage)
        return await export.run_job(lease, parts)

    async def download(self, account: Any, job_id: str) -> httpx.Response:
        return await self.client.get(f"/api/v1/users/me/export/{job_id}", headers=account.headers)

    async def files(self, account: Any) -> dict[str, bytes]:
        """Ask for the file, let it be written, and return what is in it."""
        job = await self.request(account)
        assert await self.work(await self.take(account, job["id"])) == JobStatus.COMPLETED
        response = await self.download(account, job["id"])
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/zip"
        assert response.headers["content-disposition"].startswith("attachment;")
        assert response.headers["cache-control"] == "no-store"
        with ZipFile(io.BytesIO(response.content)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}

    async def exists(self, account: Any, job_id: str) -> bool:
        key = key_of(UUID(account.user["id"]), UUID(job_id))
        try:
            return bool(await self.resources.storage.get(key))
        except NotFound:
            return False


@pytest.fixture
async def owner(postgres: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
def desk(client: httpx.AsyncClient, resources: Resources) -> Desk:
    return Desk(client, resources)


async def fill(desk: Desk, account: Any, word: str) -> dict[str, str]:
    """Give the account one of everything, with `word` in each; return the ids."""

    async def post(path: str, **body: Any) -> str:
        response = await desk.client.post(f"/api/v1{path}", headers=account.headers, **body)
        assert response.status_code < 300, response.text
        made = response.json()
        return str(made["document"]["id"] if "document" in made else made["id"])

    document = await post("/documents/upload", files={"file": (f"{word}.txt", f"About {word}.".encode())})
    conversation = await post("/chat/conversations", json={"title": word})
    for role in (MessageRole.USER, MessageRole.ASSISTANT):
        async with desk.resources.database.session(UUID(account.user["id"])) as session:
            await chat_messages.add(
                session,
                user_id=UUID(account.user["id"]),
                conversation_id=UUID(conversation),
                role=role,
                content=f"{word} says the {role.value}",
            )
    times = {"start_date": "2026-03-01T10:00:00Z", "end_date": "2026-03-01T11:00:00Z"}
    event = await post("/planner/events", json={"title": word, "type": "study", **times})
    return {"document": document, "conversation": conversation, "event": event}


async def add_opinions(desk: Desk, account: Any, video_id: str, word: str) -> None:
    for path, body in (("comments", {"text": word}), ("ratings", {"stars": 4})):
        body = {"video_id": video_id, **body}
        response = await desk.client.post(f"/api/v1/{path}", json=body, headers=account.headers)
        assert response.status_code < 300, response.text


async def add_video(desk: Desk, account: Any) -> str:
    user_id = UUID(account.user["id"])
    async with desk.resources.database.session(user_id) as session:
        video = await draft(session, user_id)
        await show(session, video.id)
    return str(video.id)


async def test_everything_of_ones_own_and_nothing_else(desk: Desk, register: Register) -> None:
    ada, eve = await register(), await register()
    ids = await fill(desk, ada, "mitochondria")
    await fill(desk, eve, "chloroplasts")
    video_id = await add_video(desk, eve)
    await add_opinions(desk, eve, video_id, "chloroplasts")
    await add_opinions(desk, ada, video_id, "mitochondria")
    files = await desk.files(ada)

    told = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    assert told["profile.json"]["email"] == ada.email
    (document,) = told["documents.json"]
    assert document["file"] == f"documents/{ids['document']}.txt"
    assert files[document["file"]] == b"About mitochondria."
    conversation = told[f"conversations/{ids['conversation']}.json"]
    assert conversation["title"] == "mitochondria"
    assert [(one["role"], one["content"]) for one in conversation["messages"]] == [
        ("user", "mitochondria says the user"),
        ("assistant", "mitochondria says the assistant"),
    ]
    assert [(one["id"], one["title"]) for one in told["planner_events.json"]] == [
        (ids["event"], "mitochondria")
    ]
    assert [(one["video_id"], one["text"]) for one in told["comments.json"]] == [(video_id, "mitochondria")]
    assert [(one["video_id"], one["stars"]) for one in told["ratings.json"]] == [(video_id, 4)]
    assert told["videos.json"] == []
    assert [one["kind"] for one in told["audit_events.json"]] == ["registered", "export_requested"]
    assert len(told["sessions.json"]) == 1
    whole = b"".join(files.values())
    for foreign in (b"chloroplasts", eve.email.encode(), eve.user["id"].encode(), b"argon2", b"_hash"):
        assert foreign not in whole, foreign


async def test_what_serves_the_account_is_there_and_no_secret(
    desk: Desk, account: Any, database: Database
) -> None:
    """Feeds, jobs, passages, the second factor and codes; but nothing that opens a door."""
    ids = await fill(desk, account, "mitochondria")
    user_id = UUID(account.user["id"])
    paths = ("planner/feed", "auth/totp", "auth/verify-email/request")
    bodies = {path: {"password": PASSWORD} if path == "auth/totp" else None for path in paths}
    for path, body in bodies.items():
        response = await desk.client.post(f"/api/v1/{path}", json=body, headers=account.headers)
        assert response.status_code < 300, response.text
    secret = b"the secret of an authenticator"
    async with database.session(user_id) as session:
        await session.execute(update(TotpCredential).values(secret=secret))
        await document_chunks.replace_all(
            session, user_id=user_id, document_id=UUID(ids["document"]), chunks=[chunk(n) for n in range(3)]
        )
    files = await desk.files(account)
    told = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    assert [(one["chunk_index"], one["content"]) for one in told["document_chunks.json"]] == [
        (0, "Passage 0"),
        (1, "Passage 1"),
        (2, "Passage 2"),
    ]
    assert {one["kind"] for one in told["jobs.json"]} == {"ingest_document", "export_account"}
    assert [one["revoked_at"] for one in told["calendar_feeds.json"]] == [None]
    assert [set(one) for one in told["totp_credentials.json"]] == [
        {"id", "user_id", "confirmed_at", "created_at"}
    ]
    assert {(one["purpose"], one["email"]) for one in told["email_codes.json"]} == {
        ("verify_email", account.email)
    }
    whole = b"".join(files.values())
    for hidden in (b"secret", b"_hash", b"leased_by", b"queue_id", secret, secret.hex().encode()):
        assert hidden not in whole, hidden


def chunk(number: int) -> NewChunk:
    return NewChunk(
        id=new_id(),
        chunk_index=number,
        content=f"Passage {number}",
        content_hash="",
        token_count=2,
        start_offset=number,
        end_offset=number + 1,
    )


def test_every_table_with_rows_of_a_user_is_a_section_or_left_out_with_a_reason() -> None:
    """A new table is told to its user, or somebody says why not."""
    owned = {
        table.name
        for table in Base.metadata.tables.values()
        if table.name == "users" or {"user_id", "created_by"} & set(table.columns.keys())
    }
    shown = {section.model.__tablename__ for section in SECTIONS.values()}
    assert shown | set(LEFT_OUT) == owned
    assert not shown & set(LEFT_OUT)
    assert all(LEFT_OUT.values())


async def test_pages_lose_and_repeat_nothing(
    desk: Desk, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more rows than a page, one statement a page, whatever the number of conversations."""
    monkeypatch.setattr(exports, "PAGE", 4)
    ada, eve = await register(), await register()
    user_id, expected = UUID(ada.user["id"]), dict[str, list[str]]()
    counts = (0, 3, 9, 1, 4, 0, 2)
    for number, count in enumerate(counts):
        async with desk.resources.database.session(user_id) as session:
            conversation = await chat_conversations.create(session, user_id=user_id, title=f"c{number}")
        expected[str(conversation.id)] = [f"{number}.{said}" for said in range(count)]
    # They talk by turns.
    for said in range(max(counts)):
        for key, words in expected.items():
            if said < len(words):
                await say(desk, ada, key, words[said])
    for number in range(9):
        async with desk.resources.database.session(user_id) as session:
            await notifications.create(session, user_id=user_id, kind="test", title=f"n{number}")
    ids = [(await fill(desk, ada, f"word{number}"))["document"] for number in range(5)]
    await fill(desk, eve, "chloroplasts")
    asked: list[str] = []
    rows = exports.rows

    async def note(session: Any, name: str, *others: Any) -> Any:
        asked.append(name)
        return await rows(session, name, *others)

    monkeypatch.setattr(exports, "rows", note)
    files = await desk.files(ada)
    told = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    for key, said in expected.items():
        conversation_file = told[f"conversations/{key}.json"]
        assert [one["content"] for one in conversation_file["messages"]] == said
    assert len([name for name in files if name.startswith("conversations/")]) == 7 + 5
    assert [one["title"] for one in told["notifications.json"]] == [f"n{number}" for number in range(9)]
    assert [one["id"] for one in told["documents.json"]] == ids
    assert all(files[one["file"]] for one in told["documents.json"])
    # 19 messages and 10 of `fill`: eight pages; 12 conversations: three, and one that is empty.
    assert (asked.count("messages"), asked.count("conversations"), asked.count("documents")) == (8, 4, 4)


async def say(desk: Desk, account: Any, conversation_id: str, content: str) -> None:
    user_id = UUID(account.user["id"])
    async with desk.resources.database.session(user_id) as session:
        await chat_messages.add(
            session,
            user_id=user_id,
            conversation_id=UUID(conversation_id),
            role=MessageRole.USER,
            content=content,
        )


async def test_a_job_says_how_many_files_and_rows(
    desk: Desk, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        await fill(desk, account, f"word{number}")
    seen: list[tuple[str, Counts | None]] = []
    progress = jobs.progress

    async def note(*arguments: Any, **named: Any) -> bool:
        seen.append((named["stage"], named["counts"]))
        return await progress(*arguments, **named)

    monkeypatch.setattr(jobs, "progress", note)
    job = await desk.request(account)
    await desk.work(await desk.take(account, job["id"]))
    assert [counts for stage, counts in seen if stage == "files"] == [
        Counts(done, 2, Unit.FILES) for done in range(3)
    ]
    counted = [counts for stage, counts in seen if stage == "collecting" and counts is not None]
    assert counted[-1] == Counts(counted[0].total, counted[0].total, Unit.ROWS)
    assert [one.done for one in counted] == sorted(one.done for one in counted)
    done = (await desk.client.get(f"/api/v1/jobs/{job['id']}", headers=account.headers)).json()
    assert (done["result"]["documents"], done["result"]["messages"]) == (2, 4)
    assert done["result"]["bytes"] > 0


async def test_a_moderators_file_holds_only_their_own(
    desk: Desk, register: Register, register_as: Callable[[str], Awaitable[Any]]
) -> None:
    eve, moderator = await register(), await register_as("moderator")
    await add_opinions(desk, eve, await add_video(desk, eve), "chloroplasts")
    files = await desk.files(moderator)
    assert json.loads(files["comments.json"]) == json.loads(files["ratings.json"]) == []
    assert not any(eve.user["id"].encode() in content for content in files.values())


async def test_a_lost_original_is_told(desk: Desk, account: Any) -> None:
    ids = await fill(desk, account, "mitochondria")
    await desk.resources.storage.delete(f"{account.user['id']}/{ids['document']}/original")
    files = await desk.files(account)
    assert [one["file"] for one in json.loads(files["documents.json"])] == [None]
    assert not [name for name in files if name.startswith("documents/")]


async def test_the_trail_knows_and_the_job_links_the_file(desk: Desk, account: Any) -> None:
    job = await desk.request(account)
    assert (job["kind"], job["status"]) == ("export_account", "queued")
    assert "file" not in job["_links"]
    assert (await desk.request(account))["id"] == job["id"]
    await desk.work(await desk.take(account, job["id"]))
    done = (await desk.client.get(f"/api/v1/jobs/{job['id']}", headers=account.headers)).json()
    assert (done["status"], done["progress"]) == ("completed", 1)
    path = done["_links"]["file"]["href"]
    assert path == f"/api/v1/users/{account.user['id']}/export/{job['id']}"
    assert (await desk.client.get(path, headers=account.headers)).status_code == 200
    assert (await desk.request(account))["id"] != job["id"]
    trail = (await desk.client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    assert [one["kind"] for one in trail[:3]] == ["export_requested", "export_downloaded", "export_requested"]


async def test_what_is_not_there(desk: Desk, register: Register) -> None:
    ada, eve = await register(), await register()
    job = await desk.request(ada)
    early = await desk.download(ada, job["id"])
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")
    await desk.work(await desk.take(ada, job["id"]))

    theirs, missing = await desk.download(eve, job["id"]), await desk.download(eve, str(new_id()))
    assert (theirs.status_code, missing.status_code) == (404, 404)
    assert theirs.json()["code"] == missing.json()["code"] == "export_not_found"
    assert theirs.json()["detail"] == missing.json()["detail"]
    path = f"/api/v1/users/{ada.user['id']}/export"
    assert (await desk.client.get(f"{path}/{job['id']}", headers=eve.headers)).status_code == 404
    assert (await desk.client.post(path, headers=eve.headers)).status_code == 404
    assert (await desk.client.post(path)).status_code == 401
    assert (await desk.client.get(f"{path}/{job['id']}")).status_code == 401
    assert (await desk.download(ada, "x")).status_code == 422

    await desk.resources.storage.delete(key_of(UUID(ada.user["id"]), UUID(job["id"])))
    gone = await desk.download(ada, job["id"])
    assert (gone.status_code, gone.json()["code"]) == (404, "file_not_found")


async def test_a_job_of_another_kind_is_no_export(desk: Desk, account: Any) -> None:
    files = {"file": ("a.txt", b"text")}
    upload = await desk.client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    response = await desk.download(account, upload.json()["job"]["id"])
    assert (response.status_code, response.json()["code"]) == (404, "export_not_found")


async def test_a_personal_token_takes_nothing_away(desk: Desk, account: Any) -> None:
    body = {"name": "script", "scopes": ["read", "write"]}
    made = await desk.client.post("/api/v1/auth/tokens", json=body, headers=account.headers)
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    job = await desk.request(account)
    for method, path in (("POST", ""), ("GET", f"/{job['id']}")):
        response = await desk.client.request(method, f"/api/v1/users/me/export{path}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "login_required")


async def test_a_file_is_kept_for_its_days_and_then_gone(
    desk: Desk, register: Register, owner: asyncpg.Connection
) -> None:
    ada, eve = await register(), await register()
    job = await desk.request(ada)
    assert job["expires_at"] is None
    await desk.work(await desk.take(ada, job["id"]))
    path = f"/api/v1/jobs/{job['id']}"
    first = await desk.client.get(path, headers=ada.headers)
    done = first.json()
    kept = datetime.fromisoformat(done["expires_at"]) - datetime.fromisoformat(done["finished_at"])
    assert kept == timedelta(days=7)
    assert await delete_expired(desk.resources.database, desk.resources.storage) == 0
    await expire(owner, job["id"])

    # At once, and not when the file is removed.
    late = await desk.download(ada, job["id"])
    assert (late.status_code, late.json()["code"]) == (410, "export_expired")
    assert await desk.exists(ada, job["id"])
    theirs = await desk.download(eve, job["id"])
    assert (theirs.status_code, theirs.json()["code"]) == (404, "export_not_found")
    second = await desk.client.get(path, headers=ada.headers)
    assert "file" not in second.json()["_links"]
    assert second.headers["etag"] != first.headers["etag"]

    assert await delete_expired(desk.resources.database, desk.resources.storage) == 1
    assert not await desk.exists(ada, job["id"])
    assert await owner.fetchval("SELECT result IS NULL FROM jobs WHERE id = $1", UUID(job["id"]))
    late = await desk.download(ada, job["id"])
    assert (late.status_code, late.json()["code"]) == (410, "export_expired")
    assert await delete_expired(desk.resources.database, desk.resources.storage) == 0
    assert (await desk.files(ada))["profile.json"]


async def test_many_who_remove_at_once_remove_each_file_once(
    desk: Desk, register: Register, owner: asyncpg.Connection
) -> None:
    accounts = [await register() for _ in range(5)]
    made = []
    for account in accounts:
        made.append(await desk.request(account))
        await desk.work(await desk.take(account, made[-1]["id"]))
    for job in made[1:]:
        await expire(owner, job["id"])
    parts = desk.resources.database, desk.resources.storage
    removed = await asyncio.gather(*(delete_expired(*parts, batch=2) for _ in range(3)))
    assert sum(removed) == 4
    there = [await desk.exists(account, job["id"]) for account, job in zip(accounts, made, strict=True)]
    assert there == [True, False, False, False, False]


async def test_what_could_not_be_removed_is_removed_the_next_time(
    desk: Desk, account: Any, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.request(account)
    await desk.work(await desk.take(account, job["id"]))
    await expire(owner, job["id"])

    async def fail(key: str) -> None:
        raise Unavailable("The file storage does not answer.")

    parts = desk.resources.database, desk.resources.storage
    with monkeypatch.context() as patched:
        patched.setattr(desk.resources.storage, "delete", fail)
        with pytest.raises(Unavailable):
            await delete_expired(*parts)
    assert await delete_expired(*parts) == 1
    assert not await desk.exists(account, job["id"])


async def test_of_many_requests_at_once_one_makes_a_job(desk: Desk, account: Any, database: Database) -> None:
    made = await asyncio.gather(*(desk.request(account) for _ in range(8)))
    assert len({job["id"] for job in made}) == 1
    trail = (await desk.client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    assert [one["kind"] for one in trail].count("export_requested") == 1
    # The database says so, whoever asks it.
    user_id = UUID(account.user["id"])
    with pytest.raises(DuplicateKey, match="jobs_one_export_idx"):
        async with database.session(user_id) as session:
            await jobs.create(session, user_id=user_id, kind=EXPORT)
    await desk.work(await desk.take(account, made[0]["id"]))
    assert (await desk.request(account))["id"] != made[0]["id"]


async def expire(owner: asyncpg.Connection, job_id: str) -> None:
    await owner.execute("UPDATE jobs SET expires_at = now() WHERE id = $1", UUID(job_id))


async def test_a_cancelled_export_leaves_no_file(
    desk: Desk, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.request(account)
    lease = await desk.take(account, job["id"])
    put = desk.resources.storage.put

    async def cancel_then_put(key: str, chunks: Any) -> int:
        await desk.client.post(f"/api/v1/jobs/{job['id']}/cancel", headers=account.headers)
        return await put(key, chunks)

    monkeypatch.setattr(desk.resources.storage, "put", cancel_then_put)
    assert await desk.work(lease) == JobStatus.CANCELLED
    assert not await desk.exists(account, job["id"])
    early = await desk.download(account, job["id"])
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")


async def test_an_error_of_ours_is_tried_again(desk: Desk, account: Any) -> None:
    job = await desk.request(account)
    lease = await desk.take(account, job["id"])
    parts = ExportParts(desk.resources.database, None)  # type: ignore[arg-type]
    assert await export.run_job(lease, parts) == JobStatus.QUEUED
    shown = (await desk.client.get(f"/api/v1/jobs/{job['id']}", headers=account.headers)).json()
    assert (shown["status"], shown["error"]["code"]) == ("queued", "export_failed")
    assert (await desk.request(account))["id"] == job["id"]


async def test_a_stopped_worker_gives_it_back(desk: Desk, account: Any) -> None:
    job = await desk.request(account)
    lease = await desk.take(account, job["id"])
    assert await lease.give_back()
    assert await desk.work(await desk.take(account, job["id"])) == JobStatus.COMPLETED


async def test_the_account_takes_its_file_with_it(desk: Desk, account: Any) -> None:
    job = await desk.request(account)
    await desk.work(await desk.take(account, job["id"]))
    assert await desk.exists(account, job["id"])
    body = {"password": "correct horse battery"}
    response = await desk.client.request("DELETE", "/api/v1/users/me", json=body, headers=account.headers)
    assert response.status_code == 204, response.text
    shelf: Any = EmptyShelf()
    assert await reconcile(ReconcileParts(desk.resources.database, desk.resources.storage, shelf))
    assert not await asyncio.wait_for(desk.exists(account, job["id"]), 5)

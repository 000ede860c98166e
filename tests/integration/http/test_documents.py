"""Documents over HTTP: uploads good and bad, reading, searching, deleting, and other people's documents."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from structlog.testing import capture_logs

from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import jobs, user_documents
from little_monster.db.repositories.rows import change
from little_monster.db.session import Session
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.pipelines.stages.document import LossReport, Tally
from little_monster.platform.engines.fakes import DIMENSION, FakeEmbedder
from little_monster.platform.errors import Unavailable
from little_monster.platform.resources import Resources
from little_monster.platform.settings import Settings
from little_monster.platform.storage import open_storage
from tests.fixtures.disks import small_disk
from tests.fixtures.library import Library
from tests.fixtures.servers import serve_here
from tests.fixtures.shelves import make_changes

DOCUMENTS = "/api/v1/documents"
PDF = b"%PDF-1.7\n" + b"page " * 1000
TEXT = "Cells make energy in mitochondria.\n\nPlants absorb light with chlorophyll.\n\nKings ruled France."


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "content")
    return file.getvalue()


def stored_files(app: FastAPI) -> list[Path]:
    folder = Path(app.state.resources.storage.description)
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".check"]


async def upload(
    client: httpx.AsyncClient, account: Any, content: bytes, name: str = "notes.pdf", **fields: str
) -> httpx.Response:
    return await client.post(
        f"{DOCUMENTS}/upload", files={"file": (name, content)}, data=fields, headers=account.headers
    )


def unique(content: bytes = PDF) -> bytes:
    return content + uuid4().hex.encode()


async def test_an_upload_is_stored_and_queued(client: httpx.AsyncClient, account: Any, app: FastAPI) -> None:
    content = unique()
    response = await upload(client, account, content, "Cell biology.pdf", subject="biology")
    assert response.status_code == 202, response.text
    document, job = response.json()["document"], response.json()["job"]
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (document["title"], document["file_type"], document["subject"]) == (
        "Cell biology",
        "pdf",
        "biology",
    )
    assert (document["status"], document["file_size"], document["error"]) == ("pending", len(content), None)
    assert (job["kind"], job["status"]) == ("ingest_document", "queued")
    assert job["_links"]["document"]["href"] == document["_links"]["self"]["href"]
    key = f"{account.user['id']}/{document['id']}/original"
    assert await app.state.resources.storage.get(key) == content
    shown = await client.get(document["_links"]["self"]["href"], headers=account.headers)
    assert shown.json() == document
    assert (await client.get(response.headers["location"], headers=account.headers)).json()["id"] == job["id"]


async def test_fields_may_stand_behind_the_file(client: httpx.AsyncClient, account: Any) -> None:
    boundary = "xyz"
    parts = [
        ('form-data; name="file"; filename="a b.md"', "# Title"),
        ('form-data; name="title"', "  Über\nZellen "),
        ('form-data; name="unknown"', "ignored"),
    ]
    body = "".join(f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n{text}\r\n" for head, text in parts)
    response = await client.post(
        f"{DOCUMENTS}/upload",
        content=f"{body}--{boundary}--\r\n".encode(),
        headers={**account.headers, "Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    assert response.status_code == 202, response.text
    assert response.json()["document"]["title"] == "Über Zellen"
    assert response.json()["document"]["file_type"] == "markdown"


async def test_the_same_bytes_are_the_same_document_of_that_user(
    client: httpx.AsyncClient, app: FastAPI, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, bob, content = await register(), await register(), unique()
    first = await upload(client, ada, content)
    files = len(stored_files(app))
    again = await upload(client, ada, content, "other name.pdf")
    assert again.status_code == 200
    assert again.json() == first.json()
    assert len(stored_files(app)) == files
    other = await upload(client, bob, content)
    assert other.status_code == 202
    assert other.json()["document"]["id"] != first.json()["document"]["id"]


async def test_a_document_that_failed_may_be_uploaded_again(
    client: httpx.AsyncClient, account: Any, app: FastAPI
) -> None:
    content = unique()
    first = (await upload(client, account, content)).json()["document"]
    resources: Resources = app.state.resources
    async with resources.database.session(UUID(account.user["id"])) as session:
        await user_documents.set_status(
            session,
            UUID(first["id"]),
            EmbeddingStatus.FAILED,
            error_code="pdf_encrypted",
            error_reason="It needs a password.",
        )
    shown = (await client.get(f"{DOCUMENTS}/{first['id']}", headers=account.headers)).json()
    assert shown["error"] == {"code": "pdf_encrypted", "reason": "It needs a password."}
    again = await upload(client, account, content)
    assert again.status_code == 202
    assert again.json()["document"]["id"] != first["id"]


@pytest.mark.parametrize(
    ("name", "content", "fields", "status", "code"),
    [
        ("a.pdf", b"", {}, 422, "empty_file"),
        ("a.exe", PDF, {}, 415, "unsupported_file_type"),
        ("a.pdf", b"hello", {}, 415, "not_a_pdf"),
        ("a.docx", b"hello", {}, 415, "not_a_docx"),
        ("a.docx", zipped("xl/workbook.xml"), {}, 415, "not_a_docx"),
        ("a.txt", b"\xff\xff\xff", {}, 415, "not_text"),
        ("a.txt", b"text", {"subject": "cooking"}, 422, "invalid_input"),
        ("a.txt", b"text", {"title": "x" * 301}, 422, "invalid_input"),
        ("a.txt", b"text", {"title": "x" * 10_000}, 422, "invalid_input"),
    ],
)
async def test_a_bad_upload_leaves_nothing(
    client: httpx.AsyncClient,
    account: Any,
    app: FastAPI,
    name: str,
    content: bytes,
    fields: dict[str, str],
    status: int,
    code: str,
) -> None:
    before = stored_files(app)
    response = await upload(client, account, content, name, **fields)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert stored_files(app) == before
    assert (await client.get(DOCUMENTS, headers=account.headers)).json()["items"] == []
    assert (await client.get("/api/v1/jobs", headers=account.headers)).json()["items"] == []


FILE_HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"{}", "malformed_form"),
        ("multipart/form-data", b"", "malformed_form"),
        (f"multipart/form-data; boundary={'x' * 300}", b"", "malformed_form"),
        ("multipart/form-data; boundary=x", b"nonsense", "malformed_form"),
        ("multipart/form-data; boundary=x", FILE_HEAD + b"cut off", "malformed_form"),
        (
            "multipart/form-data; boundary=x",
            FILE_HEAD + b"a\r\n" + FILE_HEAD + b"b\r\n--x--\r\n",
            "invalid_input",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\na\r\n--x--\r\n',
            "invalid_input",
        ),
    ],
)
async def test_a_bad_form_leaves_nothing(
    client: httpx.AsyncClient, account: Any, app: FastAPI, content_type: str, body: bytes, code: str
) -> None:
    before = stored_files(app)
    headers = {**account.headers, "Content-Type": content_type}
    response = await client.post(f"{DOCUMENTS}/upload", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, code), response.text
    assert stored_files(app) == before


@pytest.mark.parametrize("declared", [True, False])
async def test_200_megabytes_are_refused_while_they_stream(
    client: httpx.AsyncClient, account: Any, app: FastAPI, declared: bool
) -> None:
    before, sent = stored_files(app), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield FILE_HEAD.replace(b"a.txt", b"a.pdf") + b"%PDF-"
        for _ in range(200):
            sent += 1
            yield bytes(2**20)
        yield b"\r\n--x--\r\n"

    headers = {**account.headers, "Content-Type": "multipart/form-data; boundary=x"}
    if declared:
        headers["Content-Length"] = str(200 * 2**20)
    response = await client.post(f"{DOCUMENTS}/upload", content=body(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    assert sent <= (0 if declared else 51)
    assert stored_files(app) == before
    assert (await client.get(DOCUMENTS, headers=account.headers)).json()["items"] == []


async def test_a_failed_transaction_takes_the_file_back(
    client: httpx.AsyncClient, account: Any, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise Unavailable("no database")

    before = stored_files(app)
    monkeypatch.setattr(jobs, "create", fail)
    response = await upload(client, account, unique())
    assert response.status_code == 503
    assert stored_files(app) == before
    assert (await client.get(DOCUMENTS, headers=account.headers)).json()["items"] == []


async def test_a_full_storage_is_told_and_takes_the_file_when_there_is_room(
    client: httpx.AsyncClient,
    account: Any,
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    content = unique() + b" The cell divides." * 20_000
    with small_disk(tmp_path / "small") as folder, monkeypatch.context() as patch:
        store = open_storage(f"file://{folder}")._store
        patch.setattr(app.state.resources.storage, "_store", store)
        response = await upload(client, account, content)
        assert not [one for one in folder.rglob("*") if one.is_file()]
    problem = response.json()
    assert (response.status_code, problem["code"]) == (507, "storage_full")
    assert "make room" in problem["detail"]
    assert response.headers["Retry-After"] == "60"
    assert (await client.get(DOCUMENTS, headers=account.headers)).json()["items"] == []
    assert (await upload(client, account, content)).status_code == 202


async def test_a_full_database_is_told_and_the_file_taken_back(
    client: httpx.AsyncClient, account: Any, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(session: Session, **values: Any) -> None:
        await session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"))

    before = stored_files(app)
    monkeypatch.setattr(jobs, "create", fail)
    response = await upload(client, account, unique())
    assert (response.status_code, response.json()["code"]) == (507, "storage_full")
    assert response.headers["Retry-After"] == "60"
    assert stored_files(app) == before
    assert (await client.get(DOCUMENTS, headers=account.headers)).json()["items"] == []


async def test_without_a_token_nothing_is_read(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{DOCUMENTS}/upload", files={"file": ("a.pdf", PDF)})
    assert response.status_code == 401


async def test_lists_are_filtered_and_paged(client: httpx.AsyncClient, account: Any) -> None:
    for subject in ("biology", "history", "biology"):
        await upload(client, account, unique(), subject=subject)
    page = (await client.get(f"{DOCUMENTS}?subject=biology&limit=1", headers=account.headers)).json()
    rest = (await client.get(page["_links"]["next"]["href"], headers=account.headers)).json()
    assert len(page["items"]) == len(rest["items"]) == 1
    assert page["items"][0]["created_at"] > rest["items"][0]["created_at"]
    assert rest["next_cursor"] is None
    assert (
        len((await client.get(f"{DOCUMENTS}?status=pending", headers=account.headers)).json()["items"]) == 3
    )
    assert (await client.get(f"{DOCUMENTS}?status=completed", headers=account.headers)).json()["items"] == []
    assert (await client.get(f"{DOCUMENTS}?status=odd", headers=account.headers)).status_code == 422


async def test_what_reading_told_is_shown(client: httpx.AsyncClient, account: Any, database: Any) -> None:
    added = (await upload(client, account, unique())).json()["document"]
    assert (added["metadata"], added["report"]) == ({}, None)
    metadata = {"author": "Ada", "characters": 12}
    report = asdict(LossReport(pages=Tally(3, 2), needs_ocr=(2,)))
    async with database.session(UUID(account.user["id"])) as session:
        status = EmbeddingStatus.COMPLETED
        assert await user_documents.set_status(
            session, UUID(added["id"]), status, metadata=metadata, report=report
        )
    path = added["_links"]["self"]["href"]
    shown = (await client.get(path, headers=account.headers)).json()
    assert shown["metadata"] == metadata
    assert shown["report"] == {
        "pages": {"seen": 3, "kept": 2},
        **{part: {"seen": 0, "kept": 0} for part in ("tables", "figures", "formulas")},
        "needs_ocr": [2],
        "recognised": [],
        "recognised_by": None,
    }


async def _titles(client: httpx.AsyncClient, account: Any, **query: Any) -> list[str]:
    """Return the titles of all pages of a list, of two documents each."""
    url: str | None = str(httpx.URL(DOCUMENTS, params={"limit": 2, **query}))
    titles = []
    while url:
        response = await client.get(url, headers=account.headers)
        assert response.status_code == 200, response.text
        titles += [one["title"] for one in response.json()["items"]]
        url = response.json()["_links"].get("next", {}).get("href")
    return titles


async def test_titles_are_searched_and_lists_sorted(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, eve = await register(), await register()
    plants, kings, walls = "The cells of plants", "Kings of France", "Cell walls and cell doors"
    prison = "A cell in a prison"
    given = (("a.md", plants), ("b.txt", kings), ("c.md", walls), ("d.txt", prison))
    for number, (name, title) in enumerate(given):
        await upload(client, ada, unique() + b"x" * number * 100, name, title=title)
        await upload(client, eve, unique(), name, title=f"Eve's {title}")
    found = await _titles(client, ada, q="cell")
    assert (found[0], set(found), len(found)) == (walls, {plants, walls, prison}, 3)
    assert await _titles(client, ada, q="cell", sort="newest") == [prison, walls, plants]
    assert await _titles(client, ada, q='"cell walls" -plants') == [walls]
    assert await _titles(client, ada, q="cell", sort="oldest", file_type="markdown") == [plants, walls]
    assert await _titles(client, ada, q="cell", status="completed") == []
    assert await _titles(client, ada, q="nothing of this") == []
    assert await _titles(client, ada) == [prison, walls, kings, plants]
    assert await _titles(client, ada, sort="oldest") == [plants, kings, walls, prison]
    assert await _titles(client, ada, sort="largest") == [prison, walls, kings, plants]
    assert await _titles(client, ada, file_type="txt", sort="oldest") == [kings, prison]
    assert await _titles(client, eve, q="france") == ["Eve's Kings of France"]


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "relevance"},
        {"sort": "odd"},
        {"q": " "},
        {"q": "a\0b"},
        {"file_type": "odd"},
        {"q": "x" * 201},
    ],
)
async def test_bad_searches_of_titles(client: httpx.AsyncClient, account: Any, query: dict[str, str]) -> None:
    response = await client.get(DOCUMENTS, params=query, headers=account.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_a_cursor_of_one_order_is_none_of_another(client: httpx.AsyncClient, account: Any) -> None:
    for _ in range(2):
        await upload(client, account, unique())
    page = await client.get(f"{DOCUMENTS}?sort=largest&limit=1", headers=account.headers)
    cursor = page.json()["next_cursor"]
    for sort in ("newest", "oldest", "relevance&q=notes"):
        response = await client.get(f"{DOCUMENTS}?sort={sort}&cursor={cursor}", headers=account.headers)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_cursor")


@pytest.fixture
async def library(
    settings: Settings,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    database: Any,
    tmp_path: Path,
) -> AsyncIterator[tuple[FastAPI, Library]]:
    """An application whose documents are really searched, with the fake embedder."""
    index, embedder = EdgeIndex(tmp_path, "passages", DIMENSION), FakeEmbedder()
    found = Library(database, index, embedder)
    async with running(settings, index=index, embedder=embedder, retriever=found) as app:
        yield app, found
    await index.close()


async def test_chunks_come_in_order_and_pages(
    library: tuple[FastAPI, Library], client_of: Callable[..., httpx.AsyncClient], account: Any
) -> None:
    app, shelf = library
    document_id = await shelf.add(UUID(account.user["id"]), "Notes", TEXT)
    async with client_of(app) as client:
        path = f"{DOCUMENTS}/{document_id}/chunks?limit=2"
        page = (await client.get(path, headers=account.headers)).json()
        rest = (await client.get(page["_links"]["next"]["href"], headers=account.headers)).json()
    chunks = page["items"] + rest["items"]
    assert [one["index"] for one in chunks] == [0, 1, 2]
    assert all(TEXT[one["start"] : one["end"]] == one["content"] for one in chunks)
    assert rest["next_cursor"] is None


async def test_search_finds_passages_of_the_user(
    library: tuple[FastAPI, Library],
    client_of: Callable[..., httpx.AsyncClient],
    register: Callable[[], Awaitable[Any]],
) -> None:
    app, shelf = library
    ada, bob = await register(), await register()
    document_id = await shelf.add(UUID(ada.user["id"]), "Notes", TEXT)
    async with client_of(app) as client:
        body = {"query": "absorb light with chlorophyll", "limit": 1, "document_ids": [str(document_id)]}
        found = await client.post(f"{DOCUMENTS}/search", json=body, headers=ada.headers)
        [passage] = found.json()["items"]
        assert passage["content"] == "Plants absorb light with chlorophyll."
        assert TEXT[passage["start"] : passage["end"]] == passage["content"]
        assert (passage["document_id"], passage["title"], passage["page"]) == (str(document_id), "Notes", 1)
        hidden = await client.post(f"{DOCUMENTS}/search", json=body, headers=bob.headers)
        assert (hidden.status_code, hidden.json()["code"]) == (404, "document_not_found")
        empty = await client.post(f"{DOCUMENTS}/search", json={"query": "cells"}, headers=bob.headers)
        assert empty.json() == {"items": [], "next_offset": None}


@pytest.mark.parametrize(
    "body",
    [
        {"query": ""},
        {"query": "  "},
        {"query": "a\x00b"},
        {"query": "x" * 2001},
        {"query": "x", "limit": 51},
        {"query": "x", "limit": 0},
        {"query": "x", "document_ids": ["no"]},
        {"query": "x", "unknown": 1},
        {},
    ],
)
async def test_a_bad_search_is_refused(client: httpx.AsyncClient, account: Any, body: Any) -> None:
    response = await client.post(f"{DOCUMENTS}/search", json=body, headers=account.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_a_lone_surrogate_is_bad_input(client: httpx.AsyncClient, account: Any) -> None:
    headers = {**account.headers, "Content-Type": "application/json"}
    response = await client.post(f"{DOCUMENTS}/search", content=b'{"query": "\\ud800"}', headers=headers)
    assert response.status_code == 422, response.text


def others(document_id: str) -> Iterator[tuple[str, str]]:
    yield "GET", f"{DOCUMENTS}/{document_id}"
    yield "GET", f"{DOCUMENTS}/{document_id}/chunks"
    yield "DELETE", f"{DOCUMENTS}/{document_id}"


async def test_anothers_document_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, bob = await register(), await register()
    document_id = (await upload(client, ada, unique())).json()["document"]["id"]
    missing = str(uuid4())
    for (method, theirs), (_, nobodys) in zip(others(document_id), others(missing), strict=True):
        answers = [await client.request(method, path, headers=bob.headers) for path in (theirs, nobodys)]
        assert [one.status_code for one in answers] == [404, 404]
        one, other = (answer.json() for answer in answers)
        assert {**one, "instance": "", "request_id": ""} == {**other, "instance": "", "request_id": ""}
    assert (await client.get(f"{DOCUMENTS}/{document_id}", headers=ada.headers)).status_code == 200


async def test_what_is_deleted_is_gone_at_once_and_leaves_nothing(
    library: tuple[FastAPI, Library], client_of: Callable[..., httpx.AsyncClient], account: Any
) -> None:
    app, shelf = library
    owner = UUID(account.user["id"])
    async with client_of(app) as client:
        added = (await upload(client, account, unique())).json()
        path = added["document"]["_links"]["self"]["href"]
        kept = await shelf.add(owner, "Kept", TEXT)
        gone = await shelf.add(owner, "Gone", TEXT)
        assert (await client.delete(path, headers=account.headers)).status_code == 204
        assert (await client.delete(f"{DOCUMENTS}/{gone}", headers=account.headers)).status_code == 204
        assert (await client.delete(path, headers=account.headers)).status_code == 404
        assert {one.document_id for one in await shelf.search(owner, "cells", limit=10)} == {kept}
        job = (await client.get(f"/api/v1/jobs/{added['job']['id']}", headers=account.headers)).json()
    assert job["status"] == "cancelled"
    await make_changes(app, shelf.index)
    assert not [one for one in stored_files(app) if added["document"]["id"] in str(one)]
    assert await shelf.index.count(owner, gone) == 0
    assert await shelf.index.count(owner, kept) == 3
    assert {one.document_id for one in await shelf.search(owner, "cells", limit=10)} == {kept}


async def test_a_deletion_waits_for_a_change_that_is_under_way(
    app: FastAPI, client: httpx.AsyncClient, account: Any, database: Any
) -> None:
    """The version that `If-Match` names is compared under the lock, before anything is gone."""
    document = (await upload(client, account, unique())).json()["document"]
    path, owner = document["_links"]["self"]["href"], UUID(account.user["id"])
    tag = (await client.get(path, headers=account.headers)).headers["etag"]
    headers = {**account.headers, "If-Match": tag}
    async with database.session(owner) as session:
        row = await user_documents.lock(session, UUID(document["id"]))
        deletion = asyncio.create_task(client.delete(path, headers=headers))
        await asyncio.sleep(0.3)
        assert not deletion.done()
        await change(session, row, {"title": "Changed"})
    assert (await deletion).status_code == 412
    shown = (await client.get(path, headers=account.headers)).json()
    assert (shown["title"], shown["status"]) == ("Changed", "pending")
    assert await app.state.resources.storage.get(f"{owner}/{document['id']}/original")


async def test_of_one_file_uploaded_at_once_there_is_one_document(
    app: FastAPI, client: httpx.AsyncClient, account: Any
) -> None:
    content = unique()
    answers = await asyncio.gather(*(upload(client, account, content) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["document"]["id"] for answer in answers}) == 1
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1
    assert len((await client.get(DOCUMENTS, headers=account.headers)).json()["items"]) == 1
    assert len([one for one in stored_files(app) if account.user["id"] in str(one)]) == 1


async def test_a_file_that_stays_is_logged_without_its_owner(
    app: FastAPI,
    client: httpx.AsyncClient,
    account: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = unique()
    document = (await upload(client, account, content)).json()["document"]

    async def fail(key: str) -> None:
        raise Unavailable("no storage")

    monkeypatch.setattr(app.state.resources.storage, "delete", fail)
    with capture_logs() as lines:
        assert (await upload(client, account, content)).status_code == 200
    (line,) = [one for one in lines if one["event"] == "stored_file_not_removed"]
    assert "document" in line
    assert document["id"] not in str(line), "that is the one that stays"
    assert account.user["id"] not in str(line)


async def test_a_client_that_goes_in_the_middle_of_an_upload_leaves_nothing(
    app: FastAPI, client: httpx.AsyncClient, account: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored_files(app)
    head = (
        f"POST {DOCUMENTS}/upload HTTP/1.1\r\nHost: test\r\n"
        f"Authorization: {account.headers['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
    )
    async with serve_here(app) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head.encode() + FILE_HEAD + b"text " * 10_000)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()
        await asyncio.sleep(0.3)
    assert stored_files(app) == before
    assert (await client.get(DOCUMENTS, headers=account.headers)).json()["items"] == []
    assert "unexpected_error" not in capsys.readouterr().err

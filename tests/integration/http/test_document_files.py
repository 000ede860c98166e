"""Documents read anew, their files, passages and jobs, and their pages with a quote marked."""

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from little_monster.db.base import new_id
from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import document_chunks, jobs, user_documents
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.pipelines.stages.boxes import boxes_within
from little_monster.pipelines.stages.parse import parse
from little_monster.platform.errors import Conflict
from little_monster.platform.rendering.processes import RenderingProcesses
from little_monster.platform.services import page_images

DOCUMENTS = "/api/v1/documents"
SAMPLE = Path(__file__).parents[3] / "configs/samples/biology-photosynthesis.pdf"
QUOTE = "The light-dependent reactions take place in the thylakoid membranes"
TEXT = b"0123456789" * 300


async def upload(
    client: httpx.AsyncClient, account: Any, content: bytes, name: str = "notes.txt", **fields: str
) -> dict[str, Any]:
    response = await client.post(
        f"{DOCUMENTS}/upload", files={"file": (name, content)}, data=fields, headers=account.headers
    )
    assert response.status_code == 202, response.text
    added: dict[str, Any] = response.json()
    return added


async def text(client: httpx.AsyncClient, account: Any, **fields: str) -> str:
    """Upload 3,000 bytes and more; return the path of the document."""
    added = await upload(client, account, TEXT + uuid4().hex.encode(), **fields)
    return str(added["document"]["_links"]["self"]["href"])


def _id(path: str) -> UUID:
    return UUID(path.rpartition("/")[2])


# Reading anew


async def test_a_document_is_read_anew_once_at_a_time(
    client: httpx.AsyncClient, account: Any, database: Any
) -> None:
    added = await upload(client, account, TEXT + uuid4().hex.encode())
    path, owner = added["document"]["_links"]["reprocess"]["href"], UUID(account.user["id"])
    waiting = await client.post(path, headers=account.headers)
    assert (waiting.status_code, waiting.json()["id"]) == (202, added["job"]["id"])
    async with database.session(owner) as session:
        await jobs.cancel(session, UUID(added["job"]["id"]))
        failed, why = EmbeddingStatus.FAILED, {"error_code": "worker_lost", "error_reason": "Lost."}
        await user_documents.set_status(
            session, _id(added["document"]["_links"]["self"]["href"]), failed, **why
        )
    answers = await asyncio.gather(*(client.post(path, headers=account.headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    [job_id] = {answer.json()["id"] for answer in answers}
    assert job_id != added["job"]["id"]
    assert answers[0].headers["location"] == f"/api/v1/jobs/{job_id}"
    assert (answers[0].json()["kind"], answers[0].json()["status"]) == ("ingest_document", "queued")
    shown = (await client.get(added["document"]["_links"]["self"]["href"], headers=account.headers)).json()
    assert (shown["status"], shown["error"]) == ("pending", None)


async def test_what_is_deleted_meanwhile_is_not_read_anew(
    client: httpx.AsyncClient, account: Any, database: Any
) -> None:
    path = await text(client, account)
    async with database.session(UUID(account.user["id"])) as session:
        await user_documents.lock(session, _id(path))
        answer = asyncio.create_task(client.post(f"{path}/reprocess", headers=account.headers))
        await asyncio.sleep(0.3)
        assert not answer.done()
        await user_documents.delete(session, _id(path))
    assert (await answer).json()["code"] == "document_not_found"


async def test_the_newest_job_is_followed(client: httpx.AsyncClient, account: Any, database: Any) -> None:
    added = await upload(client, account, TEXT + uuid4().hex.encode())
    path = added["_links"]["events"]["href"]
    assert path == added["document"]["_links"]["events"]["href"]
    async with database.session(UUID(account.user["id"])) as session:
        await jobs.cancel(session, UUID(added["job"]["id"]))
    followed = await client.get(path, headers=account.headers)
    assert followed.headers["content-type"].startswith("text/event-stream")
    assert "event: cancelled" in followed.text
    assert added["job"]["id"] in followed.text


async def test_a_document_without_jobs_says_so(
    client: httpx.AsyncClient, account: Any, postgres: Any
) -> None:
    path = await text(client, account)
    owner = await asyncpg.connect(postgres.owner_url)
    await owner.execute("DELETE FROM jobs WHERE subject_id = $1", _id(path))
    await owner.close()
    answer = await client.get(f"{path}/events", headers=account.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "document_job_not_found")


# Download


async def test_the_file_is_the_one_that_was_uploaded(client: httpx.AsyncClient, account: Any) -> None:
    path = await text(client, account, title='Über "Zellen"/100% \u202e')
    got = await client.get(f"{path}/download", headers={**account.headers, "Accept-Encoding": "gzip"})
    assert got.status_code == 200
    assert got.content.startswith(TEXT)
    digest = hashlib.sha256(got.content).hexdigest()
    assert got.headers["etag"] == f'"{digest}"'
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.headers["cache-control"] == "private, no-cache"
    assert "content-encoding" not in got.headers
    assert got.headers["content-disposition"] == (
        "attachment; filename=\"Uber _Zellen__100_.txt\"; filename*=UTF-8''%C3%9Cber%20_Zellen__100%25.txt"
    )
    known = {**account.headers, "If-None-Match": got.headers["etag"]}
    assert (await client.get(f"{path}/download", headers=known)).status_code == 304
    head = await client.head(f"{path}/download", headers=account.headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=5-5", 5, 6),
        ("bytes=3000-", 3000, 3032),
        ("bytes=-7", 3025, 3032),
        ("bytes=3030-9999", 3030, 3032),
        ("bytes=-9999", 0, 3032),
    ],
)
async def test_a_part_of_a_file(
    client: httpx.AsyncClient, account: Any, asked: str, start: int, end: int
) -> None:
    path = f"{await text(client, account)}/download"
    whole = (await client.get(path, headers=account.headers)).content
    part = await client.get(path, headers={**account.headers, "Range": asked})
    assert (part.status_code, part.content) == (206, whole[start:end])
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"
    assert part.headers["content-length"] == str(end - start)


async def test_a_range_of_another_version_is_the_whole_file(client: httpx.AsyncClient, account: Any) -> None:
    path = f"{await text(client, account)}/download"
    tag = (await client.get(path, headers=account.headers)).headers["etag"]
    for version, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200)):
        headers = {**account.headers, "Range": "bytes=0-9", "If-Range": version}
        assert (await client.get(path, headers=headers)).status_code == status


@pytest.mark.parametrize("asked", ["bytes=3032-", "bytes=99999-99999", "bytes=-0"])
async def test_a_range_behind_the_end(client: httpx.AsyncClient, account: Any, asked: str) -> None:
    path = f"{await text(client, account)}/download"
    answer = await client.get(path, headers={**account.headers, "Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */3032"


async def test_a_file_that_the_storage_lost(client: httpx.AsyncClient, account: Any, app: FastAPI) -> None:
    path = await text(client, account)
    await app.state.resources.storage.delete(f"{account.user['id']}/{_id(path)}/original")
    answer = await client.get(f"{path}/download", headers=account.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")


# Passages and pages


@pytest.fixture
async def book(client: httpx.AsyncClient, account: Any, database: Any) -> tuple[str, str, int, int]:
    """A PDF whose one passage is its whole text: its path, the passage's id, start and end of a quote."""
    content, owner = SAMPLE.read_bytes() + b"\n%" + uuid4().hex.encode(), UUID(account.user["id"])
    path = (await upload(client, account, content, "book.pdf"))["document"]["_links"]["self"]["href"]
    read = parse(content, "pdf")
    start = read.text.index(QUOTE)
    boxes = [
        (one.page, one.start, one.end, one.left, one.bottom, one.right, one.top)
        for one in boxes_within(read.lines, 0, len(read.text))
    ]
    chunk = NewChunk(new_id(), 0, read.text, "0" * 64, 9, 0, len(read.text), page=1, page_end=3, boxes=boxes)
    async with database.session(owner) as session:
        await document_chunks.replace_all(session, user_id=owner, document_id=_id(path), chunks=[chunk])
    return path, str(chunk.id), start, start + len(QUOTE)


async def test_a_passage_says_where_its_lines_stand(
    client: httpx.AsyncClient, account: Any, book: tuple[str, str, int, int]
) -> None:
    path, chunk_id, start, _ = book
    shown = await client.get(f"{path}/chunks/{chunk_id}", headers=account.headers)
    assert shown.status_code == 200
    chunk = shown.json()
    [listed] = (await client.get(f"{path}/chunks", headers=account.headers)).json()["items"]
    assert listed == chunk
    [line] = [box for box in chunk["boxes"] if box["start"] <= start < box["end"]]
    assert chunk["content"][line["start"] : line["end"]].startswith(QUOTE[:40])
    assert (line["page"], line["left"] < line["right"], line["bottom"] < line["top"]) == (2, True, True)
    image = await client.get(chunk["_links"]["image"]["href"], headers=account.headers)
    assert image.status_code == 200, "its page with all of it marked"
    known = {**account.headers, "If-None-Match": shown.headers["etag"]}
    assert (await client.get(f"{path}/chunks/{chunk_id}", headers=known)).status_code == 304


async def test_no_passage_of_another_document(
    client: httpx.AsyncClient, account: Any, book: tuple[str, str, int, int]
) -> None:
    other = (await upload(client, account, SAMPLE.read_bytes(), "other.pdf"))["document"]["_links"]["self"][
        "href"
    ]
    for path in (f"{other}/chunks/{book[1]}", f"{other}/pages/1/image?chunk_id={book[1]}"):
        answer = await client.get(path, headers=account.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "chunk_not_found")


def _yellow(content: bytes) -> tuple[Any, list[tuple[int, int]]]:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    marked = [
        (x, y)
        for y in range(0, image.height, 2)
        for x in range(0, image.width, 2)
        if (image.getpixel((x, y)) or (0, 0, 0))[2] < 120 < (image.getpixel((x, y)) or (0, 0, 0))[0]
    ]
    return image, marked


async def test_a_quote_is_marked_on_its_page(
    client: httpx.AsyncClient, account: Any, book: tuple[str, str, int, int]
) -> None:
    path, chunk_id, start, end = book
    query = f"chunk_id={chunk_id}&start={start}&end={end}"
    got = await client.get(f"{path}/pages/2/image?{query}&width=600", headers=account.headers)
    assert (got.status_code, got.headers["content-type"]) == (200, "image/png"), got.text
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    image, marked = _yellow(got.content)
    assert image.size[0] == 600
    chunk = (await client.get(f"{path}/chunks/{chunk_id}", headers=account.headers)).json()
    lines = [one for one in chunk["boxes"] if one["start"] < end and one["end"] > start]
    scale, height = 600 / 595.28, 841.89
    assert marked
    for x, y in marked:
        assert any(
            one["left"] - 3 < x / scale < one["right"] + 3
            and one["bottom"] - 4 < height - y / scale < one["top"] + 4
            for one in lines
        ), "nothing else is marked"
    plain = await client.get(f"{path}/pages/2/image?width=600", headers=account.headers)
    assert _yellow(plain.content)[1] == []
    elsewhere = await client.get(f"{path}/pages/1/image?{query}&width=600", headers=account.headers)
    assert _yellow(elsewhere.content)[1] == [], "it stands on page 2"


async def test_an_image_is_made_once(
    client: httpx.AsyncClient,
    account: Any,
    app: FastAPI,
    book: tuple[str, str, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All images have one place.
    monkeypatch.setattr(page_images, "SLOTS", 1)
    path = f"{book[0]}/pages/1/image?format=webp&width=300"
    first = await client.get(path, headers=account.headers)
    assert (first.status_code, first.headers["content-type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(first.content)).format == "WEBP"

    async def fail(*_: object) -> bytes:
        raise Conflict("not again")

    monkeypatch.setattr(app.state.resources.page_renderer, "render", fail)
    assert (await client.get(path, headers=account.headers)).content == first.content
    known = {**account.headers, "If-None-Match": first.headers["etag"]}
    assert (await client.get(path, headers=known)).status_code == 304
    other = await client.get(path.replace("300", "301"), headers=account.headers)
    assert other.status_code == 409, "another image is made"
    assert (await client.get(path.replace("300", "301"), headers=known)).status_code == 409


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("pages/4/image", 404, "page_not_found"),
        ("pages/1000000/image", 404, "page_not_found"),
        ("pages/0/image", 422, "invalid_input"),
        ("pages/one/image", 422, "invalid_input"),
        ("pages/1/image?width=63", 422, "invalid_input"),
        ("pages/1/image?width=2001", 422, "invalid_input"),
        ("pages/1/image?format=svg", 422, "invalid_input"),
        ("pages/1/image?start=1", 422, "invalid_input"),
        (f"pages/1/image?start=5&end=5&chunk_id={UUID(int=1)}", 422, "invalid_input"),
        (f"pages/1/image?chunk_id={UUID(int=1)}", 404, "chunk_not_found"),
    ],
)
async def test_what_cannot_be_shown(
    client: httpx.AsyncClient,
    account: Any,
    book: tuple[str, str, int, int],
    query: str,
    status: int,
    code: str,
) -> None:
    answer = await client.get(f"{book[0]}/{query}", headers=account.headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_page_behind_the_last_is_known_without_the_file(
    client: httpx.AsyncClient, account: Any, database: Any, app: FastAPI, book: tuple[str, str, int, int]
) -> None:
    owner, document_id = UUID(account.user["id"]), _id(book[0])
    async with database.session(owner) as session:
        await user_documents.set_status(session, document_id, EmbeddingStatus.COMPLETED, page_count=3)
    await app.state.resources.storage.delete(f"{owner}/{document_id}/original")
    answers = [
        await client.get(f"{book[0]}/pages/{page}/image?width=77", headers=account.headers) for page in (4, 3)
    ]
    assert [one.json()["code"] for one in answers] == ["page_not_found", "file_not_found"]


async def test_text_has_no_pages(client: httpx.AsyncClient, account: Any) -> None:
    answer = await client.get(f"{await text(client, account)}/pages/1/image", headers=account.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "document_has_no_pages")


async def test_a_damaged_pdf_is_not_rendered(client: httpx.AsyncClient, account: Any) -> None:
    added = await upload(client, account, b"%PDF-1.7\n" + uuid4().hex.encode() * 50, "bad.pdf")
    path = added["document"]["_links"]["first_page"]["href"]
    answer = await client.get(path, headers=account.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "page_not_rendered")


async def test_rendering_that_takes_too_long_is_ended(
    client: httpx.AsyncClient, account: Any, app: FastAPI, book: tuple[str, str, int, int]
) -> None:
    resources = app.state.resources
    kept = resources.page_renderer
    resources.__dict__["page_renderer"] = RenderingProcesses(wall_s=0.01)
    try:
        answer = await client.get(f"{book[0]}/pages/1/image?width=88", headers=account.headers)
    finally:
        resources.__dict__["page_renderer"] = kept
    assert (answer.status_code, answer.json()["code"]) == (409, "page_not_rendered")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/download"),
        ("GET", "/events"),
        ("POST", "/reprocess"),
        ("GET", "/pages/1/image"),
        ("GET", "/chunks/{chunk_id}"),
    ],
)
async def test_all_of_it_is_its_owners_only(
    client: httpx.AsyncClient,
    register: Callable[[], Awaitable[Any]],
    book: tuple[str, str, int, int],
    method: str,
    path: str,
) -> None:
    eve, full = await register(), book[0] + path.format(chunk_id=book[1])
    answer = await client.request(method, full, headers=eve.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")
    assert (await client.request(method, full)).status_code == 401

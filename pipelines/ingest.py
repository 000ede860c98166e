"""Ingests documents: stored file -> passages -> vectors -> rows, with their status and failures.

`Stages` are functions over rows whose columns stand in `stages/columns.py`. A worker of the queue calls them
for its one document, a plan of Ray Data (`library/plan.py`) for many. Nothing of Ray is needed here: `Reader`
says where a file is read, the protocols where the models are.

What was done stands in PostgreSQL: passages before their vectors (`pending_chunks`), with the time at which
each was indexed, so that work that broke off anywhere goes on from there. The passages of before, if any,
are shown until the last of the new ones is in the index.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

import structlog

from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, UserDocument
from little_monster.db.repositories import document_chunks, jobs, pending_chunks, user_documents
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.jobs import ClaimedJob, Counts, Unit
from little_monster.db.repositories.pending_chunks import Standing
from little_monster.db.session import Database, Session
from little_monster.db.vectors.index import VectorIndex
from little_monster.pipelines import retries
from little_monster.pipelines.found import Found, found_by
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.pipelines.stages.columns import (
    Document,
    Ended,
    Failure,
    Passage,
    Vector,
    document_row,
    ended_document,
    ended_row,
    passage_row,
    vector_row,
)
from little_monster.pipelines.stages.embed import BATCH, embed_whole
from little_monster.pipelines.stages.read import ReadDocument, Reader, ReadRequest
from little_monster.pipelines.stages.store import points, rows
from little_monster.platform.engines.protocols import Embedder, EmbedderInfo
from little_monster.platform.errors import LittleMonsterError, NotFound, ReadFailure
from little_monster.platform.services.documents import INGEST
from little_monster.platform.storage import FileStorage

KIND = INGEST
LOST = "lost"
"""The outcome of a document that another worker has."""

# Parts of the whole work, for progress: reading, then embedding with indexing, measured on a laptop.
_READ_SHARE, _EMBEDDED_SHARE = 0.15, 0.95

_OUR_ERROR = "ingest_failed", "The document could not be prepared because of an error of ours."
_ALL = 2**31 - 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IngestParts:
    """What ingestion works with. `max_pages` of a PDF are read at most."""

    database: Database
    storage: FileStorage
    embedder: Embedder
    index: VectorIndex
    reader: Reader
    max_pages: int


class DocumentGone(LittleMonsterError):
    """The document was deleted."""


class StaleVectors(LittleMonsterError):
    """The index does not hold the points of the document that it should, and no others."""


async def run_job(lease: Lease, parts: IngestParts) -> JobStatus | None:
    """Ingest the document of a job and record how it stands then; None when the lease was lost. Raises
    nothing but `DatabaseUnavailable` and `CancelledError`.
    """
    try:
        outcome = await lease.guard(_run(lease, Stages(parts)))
    except LeaseLost:
        outcome = await _abandon(lease, parts)
    return None if outcome == LOST else JobStatus(outcome)


async def _run(lease: Lease, stages: "Stages") -> str:
    passages = await stages.parse(document_row(lease.job, lease.worker))
    for first in range(0, len(passages), BATCH):
        vectors = await stages.embed(passages[first : first + BATCH])
        for ended in await stages.upsert(vectors):
            assert ended["outcome"] is not None, "it has ended"
            return ended["outcome"]
    raise AssertionError("the last batch ends the document")


class Stages:
    """The stages from a stored document on.

    Each carries the errors of one document in that document's rows, having recorded them, and does what is
    left for all others. Raises nothing but `DatabaseUnavailable` and `CancelledError`: the same call again,
    later, does the rest.

    Args:
        parts: what they work with.
        queued: whether the jobs have entries in the queue, which brings again what must wait. Else such
            jobs are put there.
    """

    def __init__(self, parts: IngestParts, *, queued: bool = True) -> None:
        self._parts, self._queued = parts, queued

    async def parse(self, row: Document) -> list[Passage]:
        """Read the document, unless that was done, and return a row for each passage that is not indexed; one
        without a passage when there is none left, or when it has ended.
        """
        if row["outcome"] is not None:
            return [passage_row(row)]
        lease = self._lease(row)
        try:
            left = await self._pending(lease)
        except Exception as error:
            return [passage_row(ended_document(row, *await self._settle(lease, error)))]
        return [passage_row(row, chunk) for chunk in left] or [passage_row(row)]

    async def embed(self, batch: Sequence[Passage]) -> list[Vector]:
        """Return a vector for each passage of a batch, of several documents perhaps."""
        waiting = [row for row in batch if row["outcome"] is None and row["text"] is not None]
        try:
            made = await embed_whole(self._parts.embedder, [row["text"] or "" for row in waiting])
        except Exception as error:
            return await self._fail_all(batch, error)
        vectors = {row["chunk_id"]: vector for row, vector in zip(waiting, made, strict=True)}
        return [vector_row(row, row["chunk_id"], vectors.get(row["chunk_id"])) for row in batch]

    async def upsert(self, batch: Iterable[Vector]) -> list[Ended]:
        """Write vectors, and complete the documents whose last ones they are; return those that have ended,
        each once in a batch."""
        ended = []
        for _, of_one in groupby(sorted(batch, key=_job_of), key=_job_of):
            found = await self._upsert([*of_one])
            if found is not None:
                ended.append(found)
        return ended

    async def _upsert(self, batch: Sequence[Vector]) -> Ended | None:
        """Do it for one document; None when it has not ended."""
        over = next((row for row in batch if row["outcome"] is not None), None)
        if over is not None:
            return ended_row(over, over["outcome"], over["error"])
        lease = self._lease(batch[0])
        try:
            whole = await self._index(lease, batch)
            if not whole:
                return None
            await self._finish(lease)
        except Exception as error:
            return ended_row(batch[0], *await self._settle(lease, error))
        return ended_row(batch[0], JobStatus.COMPLETED.value, None)

    def _lease(self, row: Document) -> Lease:
        assert row["job_id"] is not None, "what has not ended has a job"
        assert row["document_id"] is not None, "and a document"
        job = ClaimedJob(
            UUID(row["job_id"]),
            UUID(row["owner"]),
            KIND,
            UUID(row["document_id"]),
            {},
            row["attempts"],
            row["max_attempts"],
        )
        return Lease(self._parts.database, job, row["worker"])

    async def _pending(self, lease: Lease) -> list[NewChunk]:
        """Return the passages that are not indexed, after reading the document where that was not done."""
        document, found = await self._begin(lease)
        info = await self._parts.embedder.describe()
        if found is None or found.model != info.model:
            await self._read(lease, document, info)
        async with lease.transaction() as session:
            return await pending_chunks.list(session, document.id, unindexed=True)

    async def _begin(self, lease: Lease) -> tuple[UserDocument, Found | None]:
        async with lease.transaction() as session:
            await lease.progress_in(session, "parsing", 0.0)
            document = await user_documents.get(session, _document_id(lease))
            if document is None:
                raise DocumentGone
            await user_documents.set_status(session, document.id, EmbeddingStatus.PROCESSING)
            return document, await found_by(session, lease.job.id)

    async def _read(self, lease: Lease, document: UserDocument, info: EmbedderInfo) -> None:
        """Read the document and keep its passages before the first of them is indexed."""
        read = await self._content(document, info)
        new = await asyncio.to_thread(rows, document.id, read.chunks, info.model)
        await self._drop_unfinished(lease, new)
        found = Found.of(read, info)
        async with lease.transaction() as session:
            await lease.keep_in(session, found.payload())
            counts = Counts(0, len(new), Unit.CHUNKS)
            await lease.progress_in(session, "embedding", _READ_SHARE, counts, more=1)
            if await user_documents.lock(session, document.id) is None:
                raise DocumentGone
            await pending_chunks.replace_all(
                session, user_id=document.user_id, document_id=document.id, job_id=lease.job.id, chunks=new
            )

    async def _content(self, document: UserDocument, info: EmbedderInfo) -> ReadDocument:
        try:
            content = await self._parts.storage.get(document.file_url)
        except NotFound:
            reason = "The uploaded file is no longer there; upload it again."
            raise ReadFailure("file_missing", reason) from None
        return await self._parts.reader(
            ReadRequest(content, document.file_type, self._parts.max_pages, info.source, info.max_tokens)
        )

    async def _drop_unfinished(self, lease: Lease, new: Sequence[NewChunk]) -> None:
        """Remove the points of passages that an earlier attempt found, otherwise, and never showed."""
        async with lease.transaction() as session:
            shown = {row.id for row in await document_chunks.list(session, _document_id(lease), limit=_ALL)}
            left = {*await pending_chunks.ids(session, _document_id(lease))}
        if stale := left - shown - {chunk.id for chunk in new}:
            await self._parts.index.delete(lease.job.user_id, [*stale])

    async def _index(self, lease: Lease, batch: Sequence[Vector]) -> bool:
        """Write points; say whether they were the document's last."""
        vectors = {UUID(row["chunk_id"]): row["vector"] for row in batch if row["chunk_id"] and row["vector"]}
        document_id = _document_id(lease)
        async with lease.transaction() as session:
            document = await user_documents.get(session, document_id)
            chunks = await pending_chunks.list(session, document_id, only=[*vectors])
        if document is None:
            raise DocumentGone
        if chunks:
            given = [vectors[chunk.id] or [] for chunk in chunks]
            await self._parts.index.upsert(points(document, chunks, given))
        async with lease.transaction() as session:
            # Of two batches of one document that end at once, the second sees what the first has noted.
            await lease.hold_in(session)
            standing = await pending_chunks.note_indexed(session, document_id, [chunk.id for chunk in chunks])
            await lease.progress_in(session, "embedding", _share(standing), _counts(standing), more=2)
        return standing.indexed == standing.total

    async def _finish(self, lease: Lease) -> None:
        """Show the new passages in the place of the old ones and end the job: all of it or nothing."""
        await self._check_points(lease)
        document_id = _document_id(lease)
        async with lease.transaction() as session:
            found = await found_by(session, lease.job.id)
            if found is None:
                raise LeaseLost
            chunks = await pending_chunks.list(session, document_id)
            if not await document_chunks.replace_all(
                session, user_id=lease.job.user_id, document_id=document_id, chunks=chunks
            ):
                raise DocumentGone
            await user_documents.set_status(
                session,
                document_id,
                EmbeddingStatus.COMPLETED,
                page_count=found.page_count,
                metadata=found.metadata(),
                report=found.report,
            )
            await pending_chunks.clear(session, document_id)
            await lease.complete_in(session, found.result())

    async def _check_points(self, lease: Lease) -> None:
        """Remove the points of the version before; return when the index holds the new ones and no others."""
        owner, document_id, index = lease.job.user_id, _document_id(lease), self._parts.index
        async with lease.transaction() as session:
            new = {*await pending_chunks.ids(session, document_id)}
            counts = Counts(len(new), len(new), Unit.CHUNKS)
            await lease.progress_in(session, "indexing", _EMBEDDED_SHARE, counts)
            shown = {row.id for row in await document_chunks.list(session, document_id, limit=_ALL)}
        if stale := shown - new:
            await index.delete(owner, [*stale])
        if await index.count(owner, document_id) != len(new):
            await index.delete_document(owner, document_id)
            async with lease.transaction() as session:
                await lease.hold_in(session)
                await pending_chunks.forget_indexed(session, document_id)
            raise StaleVectors

    async def _fail_all(self, batch: Sequence[Passage], error: Exception) -> list[Vector]:
        """Settle every document of a batch that could not be embedded."""
        ends: dict[str | None, tuple[str, Failure | None]] = {}
        made = []
        for row in batch:
            if row["outcome"] is None and row["job_id"] not in ends:
                ends[row["job_id"]] = await self._settle(self._lease(row), error)
            over = row if row["outcome"] is not None else ended_document(row, *ends[row["job_id"]])
            made.append(vector_row(over, None, None))
        return made

    async def _settle(self, lease: Lease, error: Exception) -> tuple[str, Failure | None]:
        """Record what came of a document, and return it as columns."""
        failure: Failure | None = None
        if isinstance(error, LeaseLost):
            return await _abandon(lease, self._parts), failure
        if isinstance(error, DocumentGone):
            return await _forget(lease, self._parts), failure
        if isinstance(error, ReadFailure):
            failure = Failure(code=error.code, reason=error.reason)
            status = await retries.recorded(_fail(lease, error.code, error.reason))
        else:
            _log.error("ingest_failed", job_id=str(lease.job.id), attempt=lease.job.attempts, exc_info=error)
            code, reason = retries.said(error, *_OUR_ERROR)
            failure = Failure(code=code, reason=reason)
            status = await retries.retry(lease, error, *_OUR_ERROR, failed=_set_failed)
        if status == JobStatus.QUEUED and not self._queued:
            await jobs.requeue(self._parts.database, lease.job.id, lease.job.user_id)
        return (LOST if status is None else status.value), failure


async def _abandon(lease: Lease, parts: IngestParts) -> str:
    """Leave a lost job alone, but leave no vectors of a document that was deleted while we wrote them; return
    what became of it.

    A document and its jobs end in one transaction, which also notes that its points have to go
    (`reconcile.py`). That may be done before ours are written: it is done once more later, and here at once.
    """
    async with lease.transaction() as session:
        document = await user_documents.get(session, _document_id(lease))
        job = await jobs.get(session, lease.job.id)
    if document is not None and job is not None and job.status == JobStatus.COMPLETED:
        # Only the last batch of a plan, given once more, finds a job that was completed under it.
        return job.status.value
    if document is None or job is None or job.status == JobStatus.CANCELLED:
        return await _forget(lease, parts)
    return LOST


async def _forget(lease: Lease, parts: IngestParts) -> str:
    """Leave no point that no row will explain: none of a document that is gone, else none of passages that
    were never shown."""
    owner, document_id = lease.job.user_id, _document_id(lease)
    async with lease.transaction() as session:
        document = await user_documents.get(session, document_id)
        shown = {row.id for row in await document_chunks.list(session, document_id, limit=_ALL)}
        left = {*await pending_chunks.ids(session, document_id)}
    if document is None:
        await parts.index.delete_document(owner, document_id)
    elif stale := left - shown:
        await parts.index.delete(owner, [*stale])
    async with lease.transaction() as session:
        await jobs.cancel(session, lease.job.id)
        await pending_chunks.clear(session, document_id)
    return JobStatus.CANCELLED.value


async def _fail(lease: Lease, code: str, reason: str) -> JobStatus:
    async with lease.transaction() as session:
        await lease.fail_in(session, code, reason)
        await _set_failed(session, lease, code, reason)
    return JobStatus.FAILED


async def _set_failed(session: Session, lease: Lease, code: str, reason: str) -> None:
    await user_documents.set_status(
        session, _document_id(lease), EmbeddingStatus.FAILED, error_code=code, error_reason=reason
    )


def _document_id(lease: Lease) -> UUID:
    assert lease.job.subject_id is not None, "an ingest job names its document"
    return lease.job.subject_id


def _share(standing: Standing) -> float:
    return _READ_SHARE + (_EMBEDDED_SHARE - _READ_SHARE) * standing.indexed / max(standing.total, 1)


def _counts(standing: Standing) -> Counts:
    return Counts(standing.indexed, standing.total, Unit.CHUNKS)


def _job_of(row: Document) -> str:
    return row["job_id"] or row["uri"]

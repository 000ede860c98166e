"""Ingests one document: stored file -> passages -> vectors -> rows, with its status and failures.

Nothing of Ray is needed here: `Reader` says where the file is read, the protocols where the models are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, UserDocument
from little_monster.db.repositories import document_chunks, jobs, user_documents
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.session import Database, Session
from little_monster.db.vectors.index import VectorIndex
from little_monster.pipelines import retries
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.pipelines.stages.embed import embed_batches, embedded_text
from little_monster.pipelines.stages.read import ReadDocument, Reader, ReadRequest
from little_monster.pipelines.stages.store import points, rows
from little_monster.platform.engines.protocols import Embedder, EmbedderInfo
from little_monster.platform.errors import LittleMonsterError, NotFound, ReadFailure
from little_monster.platform.storage import FileStorage

KIND = "ingest_document"

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
    """The index holds points of the document that no version of it explains."""


async def run_job(lease: Lease, parts: IngestParts) -> JobStatus | None:
    """Ingest the document of a job and record how it stands then; None when the lease was lost. Raises
    nothing but `DatabaseUnavailable` and `CancelledError`.
    """
    try:
        await lease.guard(ingest_document(lease, parts))
        return JobStatus.COMPLETED
    except LeaseLost:
        return await _abandon(lease, parts)
    except DocumentGone:
        return await _forget(lease, parts)
    except ReadFailure as failure:
        return await retries.recorded(_fail(lease, failure.code, failure.reason))
    except Exception as error:
        _log.exception("ingest_failed", job_id=str(lease.job.id), attempt=lease.job.attempts)
        return await retries.retry(lease, error, *_OUR_ERROR, failed=_set_failed)


async def ingest_document(lease: Lease, parts: IngestParts) -> None:
    """Ingest the document of a job, to the status `completed` of both.

    Raises:
        ReadFailure: the document cannot be read, now or later.
        DocumentGone: it was deleted.
        LeaseLost: the job is no longer ours.
        Exception: anything else may work another time.
    """
    document = await _begin(lease)
    info = await parts.embedder.describe()
    read = await _read(parts, document, info)
    new = rows(document.id, read.chunks, info.model)
    await lease.progress("embedding", _READ_SHARE, _counts(0, new))
    await _drop_old_points(lease, parts, new)
    await _index(lease, parts, new)
    await lease.progress("indexing", _EMBEDDED_SHARE, _counts(len(new), new))
    await _check_points(lease, parts, new)
    await _finish(lease, new, read, info)


async def _begin(lease: Lease) -> UserDocument:
    async with lease.transaction() as session:
        await lease.progress_in(session, "parsing", 0.0)
        document = await user_documents.get(session, _document_id(lease))
        if document is None:
            raise DocumentGone
        await user_documents.set_status(session, document.id, EmbeddingStatus.PROCESSING)
    return document


async def _read(parts: IngestParts, document: UserDocument, info: EmbedderInfo) -> ReadDocument:
    try:
        content = await parts.storage.get(document.file_url)
    except NotFound:
        raise ReadFailure("file_missing", "The uploaded file is no longer there; upload it again.") from None
    return await parts.reader(
        ReadRequest(content, document.file_type, parts.max_pages, info.source, info.max_tokens)
    )


async def _drop_old_points(lease: Lease, parts: IngestParts, new: Sequence[NewChunk]) -> None:
    """Remove the document's points when an earlier version of it has some that this one lacks."""
    async with lease.transaction() as session:
        old = await document_chunks.list(session, _document_id(lease), limit=_ALL)
    if {row.id for row in old} - {row.id for row in new}:
        await parts.index.delete_document(lease.job.user_id, _document_id(lease))


async def _index(lease: Lease, parts: IngestParts, new: Sequence[NewChunk]) -> None:
    owner, document_id = lease.job.user_id, _document_id(lease)
    texts = [embedded_text(row.headings, row.content) for row in new]
    async for first, vectors in embed_batches(parts.embedder, texts):
        done = first + len(vectors)
        await parts.index.upsert(points(owner, document_id, new[first:done], vectors))
        share = _READ_SHARE + (_EMBEDDED_SHARE - _READ_SHARE) * done / len(new)
        await lease.progress("embedding", share, _counts(done, new))


def _counts(done: int, new: Sequence[NewChunk]) -> Counts:
    return Counts(done, len(new), Unit.CHUNKS)


async def _check_points(lease: Lease, parts: IngestParts, new: Sequence[NewChunk]) -> None:
    # An attempt that was broken off may have left points of other text, which no row tells of: begin afresh.
    owner, document_id = lease.job.user_id, _document_id(lease)
    if await parts.index.count(owner, document_id) != len(new):
        await parts.index.delete_document(owner, document_id)
        raise StaleVectors


async def _finish(lease: Lease, new: Sequence[NewChunk], read: ReadDocument, info: EmbedderInfo) -> None:
    """Make the passages visible and end the job: all of it or nothing."""
    async with lease.transaction() as session:
        if not await document_chunks.replace_all(
            session, user_id=lease.job.user_id, document_id=_document_id(lease), chunks=new
        ):
            raise DocumentGone
        await user_documents.set_status(
            session,
            _document_id(lease),
            EmbeddingStatus.COMPLETED,
            page_count=read.page_count,
            metadata=_metadata(read, info),
        )
        await lease.complete_in(session, _result(read))


def _metadata(read: ReadDocument, info: EmbedderInfo) -> dict[str, Any]:
    return {"title": read.title, "author": read.author, "embedding_model": info.model, **_result(read)}


def _result(read: ReadDocument) -> dict[str, Any]:
    return {
        "pages": read.page_count,
        "chunks": len(read.chunks),
        "characters": read.characters,
        "textless_pages": list(read.textless_pages),
    }


async def _abandon(lease: Lease, parts: IngestParts) -> JobStatus | None:
    """Leave a lost job alone, but leave no vectors of a document that was deleted while we wrote them.

    Who deletes a document cancels its jobs first and removes its rows last.
    """
    async with lease.transaction() as session:
        document = await user_documents.get(session, _document_id(lease))
        job = await jobs.get(session, lease.job.id)
    if document is None or job is None or job.status == JobStatus.CANCELLED:
        return await _forget(lease, parts)
    return None


async def _forget(lease: Lease, parts: IngestParts) -> JobStatus:
    await parts.index.delete_document(lease.job.user_id, _document_id(lease))
    async with lease.transaction() as session:
        await jobs.cancel(session, lease.job.id)
    return JobStatus.CANCELLED


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

"""Documents: upload, list, read, change, read anew, search, delete."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import structlog

from little_monster.db.base import new_id
from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.jobs import Job
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.repositories import document_chunks, jobs, user_documents, users
from little_monster.db.repositories.rows import change
from little_monster.db.repositories.user_documents import DocumentFilter, DocumentOrder, Listed
from little_monster.db.session import Database, Session
from little_monster.platform.engines.protocols import Passage, SearchOptions
from little_monster.platform.errors import NotFound
from little_monster.platform.resources import Resources

INGEST = "ingest_document"
"""Kind of the job that reads a document."""
INGEST_ATTEMPTS = 5
"""How often it is tried: an outage of a minute is waited out, and a worker may be lost as often."""

_log = structlog.get_logger(__name__)
After = tuple[datetime, UUID] | None
Check = Callable[[UserDocument], None]


class IncomingFile(Protocol):
    """A file that is still coming in. `chunks` can be read once; the other facts are known when it has
    ended."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes, checked on the way.

        Raises:
            ProblemError: the file is too large, empty, or not what it says it is.
        """
        ...

    @property
    def file_type(self) -> FileType: ...

    @property
    def size(self) -> int: ...

    @property
    def content_hash(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def subject(self) -> Subject | None: ...


@dataclass(frozen=True, slots=True)
class Upload:
    """A stored document, the newest job on it, and whether it was `created` or had been there before."""

    document: UserDocument
    job: Job | None
    created: bool


async def upload_document(resources: Resources, owner: UUID, file: IncomingFile) -> Upload:
    """Store the file, and then its row and the job that will read it, in one transaction.

    The same bytes again give the document that is there, unless reading that one failed. Whatever goes
    wrong, the stored file is removed again.

    Raises:
        ProblemError: what reading the file raised.
        StorageFull: there is no room for the file.
        Unavailable: the storage or the database does not answer.
    """
    document_id = new_id()
    key = f"{owner}/{document_id}/original"
    kept = False
    try:
        await resources.storage.put(key, file.chunks())
        upload = await _record(resources.database, owner, document_id, key, file)
        kept = upload.created
    finally:
        if not kept:
            await _discard(resources, document_id, key)
    return upload


async def _record(database: Database, owner: UUID, document_id: UUID, key: str, file: IncomingFile) -> Upload:
    async with database.session(owner) as session:
        # One after the other, so that of the same file at once one is the first.
        await users.lock(session, owner)
        known = await user_documents.find_by_hash(session, file.content_hash)
        if known is not None and known.embedding_status != EmbeddingStatus.FAILED:
            return Upload(known, await _newest_job(session, known.id), created=False)
        document = await user_documents.create(
            session,
            document_id=document_id,
            user_id=owner,
            title=file.title,
            file_type=file.file_type,
            file_url=key,
            file_size=file.size,
            content_hash=file.content_hash,
            subject=file.subject,
        )
        job = await jobs.create(
            session, user_id=owner, kind=INGEST, subject_id=document_id, max_attempts=INGEST_ATTEMPTS
        )
        return Upload(document, job, created=True)


async def _discard(resources: Resources, document_id: UUID, key: str) -> None:
    """Remove a file that no row names; a request that is being cancelled still waits for it."""
    try:
        await asyncio.shield(asyncio.ensure_future(resources.storage.delete(key)))
    except Exception:
        # The error that led here is the one to tell; the file is an orphan that the log names, but not its
        # owner, who stands in the key.
        _log.exception("stored_file_not_removed", document=str(document_id))


async def list_documents(
    database: Database,
    owner: UUID,
    wanted: DocumentFilter,
    *,
    order: DocumentOrder,
    limit: int,
    after: tuple[datetime | Decimal, UUID] | None,
) -> list[Listed]:
    """Return at most `limit` documents behind `after`."""
    find = partial(user_documents.list, wanted=wanted, order=order, limit=limit, after=after)
    return await database.query(owner, find)


async def read_document(database: Database, owner: UUID, document_id: UUID) -> UserDocument:
    """Return the document.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    document = await user_documents.read(database, owner, document_id, fresh=False)
    if document is None:
        raise no_document()
    return document


async def list_chunks(
    database: Database, owner: UUID, document_id: UUID, *, limit: int, after: int | None
) -> list[DocumentChunk]:
    """Return at most `limit` passages in the document's order, behind the index `after`. Raises as
    `read_document`."""

    async def find(session: Session) -> list[DocumentChunk]:
        await _get(session, document_id)
        return await document_chunks.list(session, document_id, limit=limit, after=after)

    return await database.query(owner, find)


async def get_chunk(database: Database, owner: UUID, document_id: UUID, chunk_id: UUID) -> DocumentChunk:
    """Return a passage of the document.

    Raises:
        NotFound: there is no such document, or no such passage in it (`chunk_not_found`).
    """

    async def find(session: Session) -> DocumentChunk:
        await _get(session, document_id)
        chunk = await document_chunks.get(session, chunk_id)
        if chunk is None or chunk.document_id != document_id:
            raise NotFound("There is no such passage in the document.", code="chunk_not_found")
        return chunk

    return await database.query(owner, find)


async def newest_job(database: Database, owner: UUID, document_id: UUID) -> Job:
    """Return the newest job on the document.

    Raises:
        NotFound: there is no such document, or its jobs ended so long ago that none is left
            (`document_job_not_found`).
    """

    async def find(session: Session) -> Job:
        await _get(session, document_id)
        job = await _newest_job(session, document_id)
        if job is None:
            raise NotFound("No job of this document is left.", code="document_job_not_found")
        return job

    return await database.query(owner, find)


async def reprocess_document(database: Database, owner: UUID, document_id: UUID) -> Job:
    """Queue a job that reads the document anew; one that has not ended is returned in its place. Until it is
    done, what was read before is still found.

    Raises:
        NotFound: there is no such document, or it was deleted just now.
    """
    async with database.session(owner) as session:
        # Under its lock, so that of two who ask at once one makes the job, and no deletion begins meanwhile.
        document = await user_documents.lock(session, document_id)
        if document is None:
            raise no_document()
        pending = await jobs.find_active_on(session, document_id, INGEST)
        if pending is not None:
            return pending
        await user_documents.set_status(session, document_id, EmbeddingStatus.PENDING)
        return await jobs.create(
            session, user_id=owner, kind=INGEST, subject_id=document_id, max_attempts=INGEST_ATTEMPTS
        )


async def change_document(
    database: Database, owner: UUID, document_id: UUID, values: Mapping[str, Any], *, check: Check
) -> UserDocument:
    """Give the document another title or subject, and return it as it is then.

    Raises:
        ProblemError: what `check` raises of the document as it is now. Else as `read_document`.
    """
    async with database.session(owner) as session:
        document = await user_documents.lock(session, document_id)
        if document is None:
            raise no_document()
        check(document)
        await change(session, document, values)
    return document


async def delete_document(
    resources: Resources, owner: UUID, document_id: UUID, *, check: Check | None = None
) -> None:
    """Delete the document with its passages, and cancel its jobs. Nobody sees it from then on.

    A trigger notes in the same transaction that its vectors and its file have to go, which the workers' part
    `pipelines/reconcile.py` does within seconds, whatever was away meanwhile. Raises as `change_document`.
    """

    async def delete(session: Session) -> None:
        document = await user_documents.lock(session, document_id)
        if document is None:
            raise no_document()
        if check is not None:
            check(document)
        await jobs.cancel_for(session, document_id)
        await user_documents.delete(session, document_id)

    await resources.database.run(owner, delete)


async def search_documents(
    resources: Resources,
    owner: UUID,
    query: str,
    *,
    limit: int,
    document_ids: Sequence[UUID],
    options: SearchOptions,
) -> list[Passage]:
    """Return at most `limit` passages, best first.

    Raises:
        NotFound: one of `document_ids` is missing, or somebody else's.
        Unavailable: retrieval does not answer.
    """
    if document_ids:
        async with resources.database.session(owner) as session:
            await require_documents(session, document_ids)
    return await resources.retriever.search(
        owner, query, limit=limit, document_ids=document_ids, options=options
    )


async def require_documents(session: Session, document_ids: Sequence[UUID]) -> None:
    """Return when all documents are the user's.

    Raises:
        NotFound: one of them is not.
    """
    wanted = set(document_ids)
    if wanted and len(await user_documents.get_many(session, [*wanted])) != len(wanted):
        raise no_document()


def no_document() -> NotFound:
    """Return the error for a document that is not there, or somebody else's."""
    return NotFound("There is no such document.", code="document_not_found")


async def _get(session: Session, document_id: UUID) -> UserDocument:
    document = await user_documents.get(session, document_id)
    if document is None:
        raise no_document()
    return document


async def _newest_job(session: Session, document_id: UUID) -> Job | None:
    found = await jobs.list(session, limit=1, subject_id=document_id)
    return found[0] if found else None

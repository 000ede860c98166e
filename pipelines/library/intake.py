"""Files of a library to documents of an account: stored, with a row, and with a job that this run has.

A file is read once, into a copy in memory or, of a large file, on the disk, and stored from there: what is
stored is what was looked at. The same bytes are one document, whatever they are called. One that is complete
costs no more than reading the file; one that somebody else reads is left to them.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, Subject, UserDocument
from little_monster.db.repositories import jobs, user_documents, users
from little_monster.db.session import Database, Session
from little_monster.pipelines.ingest import KIND
from little_monster.pipelines.library.sources import name_of, read_parts
from little_monster.pipelines.stages.columns import Document, Failure, File
from little_monster.platform.errors import ConfigurationError, InvalidInput, ProblemError, StorageFull
from little_monster.platform.services.documents import INGEST_ATTEMPTS
from little_monster.platform.services.files import FileInspector
from little_monster.platform.storage import PART_BYTES, FileStorage, is_full

SKIPPED = "skipped"
"""The outcome of a file whose document was complete, or is that of another file of the library."""

MOST_TITLE_CHARS = 200
SOURCE = "source"
"""Where the payload of a job says which file its document was."""

_IN_MEMORY_BYTES = 8 * 2**20
"""The copy of a larger file is on the disk."""

Copy = SpooledTemporaryFile[bytes]


@dataclass(frozen=True, slots=True)
class Run:
    """One run over a library. `family` begins the names of all workers of its job, of which `worker` is the
    only one that lives."""

    owner: UUID
    family: str
    worker: str
    subject: Subject | None
    max_bytes: int


class Intake:
    """The stage `read`."""

    def __init__(self, database: Database, storage: FileStorage, run: Run) -> None:
        self._database, self._storage, self._run = database, storage, run

    async def take(self, file: File) -> Document:
        """Return the file as a document whose job this run has, or how it has ended.

        Raises:
            DatabaseUnavailable: the same again, later, does it.
        """
        try:
            return await self._take(file)
        except DatabaseUnavailable:
            raise
        except ProblemError as problem:
            return self._failed(file, problem.code, problem.detail)
        except (OSError, ValueError, ConfigurationError) as error:
            return self._failed(file, *_reason(error))

    async def _take(self, file: File) -> Document:
        subject = self._subject(file)
        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as copy:
            seen = await self._copy(file["uri"], copy)
            async with self._database.session(self._run.owner) as session:
                await users.lock(session, self._run.owner)
                if (known := await self._known(session, file, seen.content_hash)) is not None:
                    return known
            return await self._add(file, seen, copy, subject)

    def _subject(self, file: File) -> Subject | None:
        try:
            return Subject(file["subject"]) if file["subject"] else self._run.subject
        except ValueError:
            known = ", ".join(Subject)
            reason = f"The manifest names the subject {file['subject']}, which is none of: {known}."
            raise InvalidInput(reason, code="unknown_subject") from None

    async def _copy(self, uri: str, copy: Copy) -> FileInspector:
        """Return what the file is, having read it into a copy."""
        inspector = FileInspector(name_of(uri), self._run.max_bytes)
        async for part in read_parts(uri):
            inspector.feed(part)
            await asyncio.to_thread(copy.write, part)
        inspector.finish()
        return inspector

    async def _known(self, session: Session, file: File, content_hash: str) -> Document | None:
        """Return what there is of these bytes: None when they are new."""
        document = await user_documents.find_by_hash(session, content_hash)
        if document is None:
            return None
        if document.embedding_status == EmbeddingStatus.COMPLETED:
            return self._row(file, document.id, outcome=SKIPPED)
        job = await self._newest(session, document)
        if job is None or job.finished_at is not None:
            return self._held(file, await self._hold(session, document.id, file))
        ours = await jobs.take_over(session, job.id, worker=self._run.worker, family=self._run.family)
        if ours is None:
            return self._row(file, document.id, outcome=JobStatus.QUEUED.value, job=job)
        if ours.payload.get(SOURCE) != file["uri"]:
            return self._row(file, document.id, outcome=SKIPPED)
        if ours.status == JobStatus.FAILED:
            await user_documents.give_up(
                session, document.id, code=jobs.WORKER_LOST[0], reason=jobs.WORKER_LOST[1]
            )
            return self._row(file, document.id, outcome=JobStatus.FAILED.value, error=_lost())
        return self._held(file, ours)

    async def _newest(self, session: Session, document: UserDocument) -> Job | None:
        found = await jobs.list(session, limit=1, subject_id=document.id)
        return found[0] if found else None

    async def _add(self, file: File, seen: FileInspector, copy: Copy, subject: Subject | None) -> Document:
        """Store the file, then its row and job."""
        document_id = new_id()
        key = f"{self._run.owner}/{document_id}/original"
        kept = False
        try:
            size = await self._storage.put(key, _parts_of(copy))
            async with self._database.session(self._run.owner) as session:
                await users.lock(session, self._run.owner)
                if (known := await self._known(session, file, seen.content_hash)) is not None:
                    return known
                await user_documents.create(
                    session,
                    document_id=document_id,
                    user_id=self._run.owner,
                    title=title_of(file),
                    file_type=seen.file_type,
                    file_url=key,
                    file_size=size,
                    content_hash=seen.content_hash,
                    subject=subject,
                )
                job = await self._hold(session, document_id, file)
            kept = True
        finally:
            if not kept:
                await self._storage.delete(key)
        return self._held(file, job)

    async def _hold(self, session: Session, document_id: UUID, file: File) -> Job:
        return await jobs.create_held(
            session,
            user_id=self._run.owner,
            kind=KIND,
            subject_id=document_id,
            worker=self._run.worker,
            payload={SOURCE: file["uri"]},
            max_attempts=INGEST_ATTEMPTS,
        )

    def _held(self, file: File, job: Job) -> Document:
        return self._row(file, job.subject_id, job=job)

    def _failed(self, file: File, code: str, reason: str) -> Document:
        failure = Failure(code=code, reason=reason)
        return self._row(file, None, outcome=JobStatus.FAILED.value, error=failure)

    def _row(
        self,
        file: File,
        document_id: UUID | None,
        *,
        outcome: str | None = None,
        error: Failure | None = None,
        job: Job | None = None,
    ) -> Document:
        return Document(
            uri=file["uri"],
            document_id=None if document_id is None else str(document_id),
            outcome=outcome,
            error=error,
            owner=str(self._run.owner),
            job_id=None if job is None else str(job.id),
            worker=self._run.worker,
            attempts=0 if job is None else job.attempts,
            max_attempts=0 if job is None else job.max_attempts,
        )


def title_of(file: File) -> str:
    """Return what the document is called: as the manifest says, else as the file."""
    stem = PurePosixPath(name_of(file["uri"])).stem
    return " ".join((file["title"] or stem).replace("\x00", "").split())[:MOST_TITLE_CHARS] or "Untitled"


async def _parts_of(copy: Copy) -> AsyncIterator[bytes]:
    await asyncio.to_thread(copy.seek, 0)
    while part := await asyncio.to_thread(copy.read, PART_BYTES):
        yield part


def _reason(error: Exception) -> tuple[str, str]:
    """Return code and reason of a file of which no copy could be made."""
    if not is_full(error):
        return "file_unreadable", f"The file cannot be read: {error}"
    return StorageFull.code, (
        f"There is no room in {tempfile.gettempdir()} for a copy of the file: make some, or let TMPDIR name "
        "another folder, and ingest the same source again."
    )


def _lost() -> Failure:
    return Failure(code=jobs.WORKER_LOST[0], reason=jobs.WORKER_LOST[1])

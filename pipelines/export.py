"""Writes everything of an account into one zip: JSON of its rows, and the files as they were uploaded."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import orjson
import structlog

from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import exports, jobs
from little_monster.db.repositories.exports import SECTIONS, Record
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.session import Database, Session
from little_monster.pipelines import retries
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.platform.errors import NotFound
from little_monster.platform.services.exports import EXPORT, key_of
from little_monster.platform.settings import StorageSettings
from little_monster.platform.storage import PART_BYTES, FileStorage

KIND = EXPORT
DEFAULT_KEEP: Final = timedelta(days=StorageSettings().export_days)
"""How long the file can be downloaded where nothing else is set."""

_SUFFIXES: Final = {"pdf": ".pdf", "docx": ".docx", "markdown": ".md", "txt": ".txt"}
# Parts of the whole work, for progress: files, then rows, then storing the archive.
_FILES_SHARE, _ROWS_SHARE = 0.7, 0.9
_OUR_ERROR: Final = "export_failed", "The file could not be written because of an error of ours."

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExportParts:
    """What an export works with."""

    database: Database
    storage: FileStorage
    keep: timedelta = DEFAULT_KEEP


async def run_job(lease: Lease, parts: ExportParts) -> JobStatus | None:
    """Write the file of a job and record how it ended; None when the lease was lost. Raises as
    `ingest.run_job`."""
    try:
        await lease.guard(export_account(lease, parts))
        return JobStatus.COMPLETED
    except LeaseLost:
        return await _abandon(lease, parts)
    except Exception as error:
        _log.exception("export_failed", job_id=str(lease.job.id), attempt=lease.job.attempts)
        return await retries.retry(lease, error, *_OUR_ERROR)


async def export_account(lease: Lease, parts: ExportParts) -> None:
    """Write the file and end the job.

    Raises:
        LeaseLost: the job is no longer ours.
        Exception: anything else may work another time.
    """
    with tempfile.TemporaryDirectory(prefix="lm-export-") as folder:
        path = Path(folder) / "export.zip"
        with ZipFile(path, "w", ZIP_DEFLATED) as archive:
            counts = await _write(lease, parts, archive, Path(folder) / "original")
        await lease.progress("storing", _ROWS_SHARE)
        size = await parts.storage.put(key_of(lease.job.user_id, lease.job.id), _read(path))
    async with lease.transaction() as session:
        kept_s = parts.keep.total_seconds()
        await lease.complete_in(session, {"bytes": size, **counts}, kept_s=kept_s)


async def _write(lease: Lease, parts: ExportParts, archive: ZipFile, scratch: Path) -> dict[str, int]:
    """Fill the archive; return how many rows each section has."""
    async with lease.transaction() as session:
        counts = await exports.count(session, lease.job.user_id)
    await _add_files(lease, parts, archive, counts["documents"], scratch)
    reader = _Reader(lease, sum(counts.values()))
    for section in SECTIONS:
        if section == "profile":
            (profile,) = [row async for row in reader.rows(section)]
            await asyncio.to_thread(archive.writestr, "profile.json", _dump(profile))
        elif section == "documents":
            await _write_list(archive, section, _with_files(reader.rows(section), {*archive.namelist()}))
        elif section == "conversations":
            await _add_conversations(archive, reader)
        elif section != "messages":
            await _write_list(archive, section, reader.rows(section))
    return reader.read


@dataclass
class _Reader:
    """Reads sections page by page and says how far it is; `read` counts the rows of each."""

    lease: Lease
    total: int
    read: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SECTIONS, 0))

    async def rows(self, section: str) -> AsyncGenerator[Record, None]:
        """Yield all rows of a section."""
        last: Record | None = None
        while True:
            async with self.lease.transaction() as session:
                page = await exports.rows(session, section, self.lease.job.user_id, last)
                self.read[section] += len(page)
                await self._tell(session)
            for row in page:
                yield row
            if len(page) < exports.PAGE:
                return
            last = page[-1]

    async def _tell(self, session: Session) -> None:
        done = sum(self.read.values())
        # What came meanwhile is read too.
        total = max(self.total, done)
        share = _FILES_SHARE + (_ROWS_SHARE - _FILES_SHARE) * done / total
        await self.lease.progress_in(session, "collecting", share, Counts(done, total, Unit.ROWS))


async def _add_files(lease: Lease, parts: ExportParts, archive: ZipFile, total: int, scratch: Path) -> None:
    """Add the documents' files, but those that the storage has lost."""
    await lease.progress("files", 0.0, Counts(0, total, Unit.FILES))
    done, last = 0, None
    while True:
        async with lease.transaction() as session:
            documents = await exports.rows(session, "documents", lease.job.user_id, last)
        for document in documents:
            with contextlib.suppress(NotFound):
                await parts.storage.download(f"{lease.job.user_id}/{document['id']}/original", scratch)
                await asyncio.to_thread(archive.write, scratch, _file_of(document), ZIP_STORED)
            done += 1
            total = max(total, done)
            await lease.progress("files", _FILES_SHARE * done / total, Counts(done, total, Unit.FILES))
        if len(documents) < exports.PAGE:
            return
        last = documents[-1]


def _file_of(document: Record) -> str:
    return f"documents/{document['id']}{_SUFFIXES[document['file_type']]}"


async def _with_files(documents: AsyncIterator[Record], files: set[str]) -> AsyncGenerator[Record, None]:
    """Say in each row where its file is; null when the storage has lost it."""
    async for document in documents:
        name = _file_of(document)
        yield {**document, "file": name if name in files else None}


async def _add_conversations(archive: ZipFile, reader: _Reader) -> None:
    """Add a file for each conversation, reading conversations and messages side by side."""
    messages = _Messages(reader.rows("messages"))
    async for conversation in reader.rows("conversations"):
        head = _dump(conversation).removesuffix(b"}") + b',"messages":['
        said = messages.of(conversation["id"])
        await _write_list(archive, f"conversations/{conversation['id']}", said, head=head, tail=b"]}")


class _Messages:
    """Messages in the order of their conversations, of which each is asked for once, in that order too."""

    def __init__(self, rows: AsyncIterator[Record]) -> None:
        self._rows = rows
        self._next: Record | None = None

    async def of(self, conversation_id: UUID) -> AsyncGenerator[Record, None]:
        """Yield those of one conversation; those of earlier ones, which are gone, are passed over."""
        self._next = self._next or await anext(self._rows, None)
        while self._next is not None and self._next["conversation_id"] <= conversation_id:
            if self._next["conversation_id"] == conversation_id:
                yield self._next
            self._next = await anext(self._rows, None)


async def _write_list(
    archive: ZipFile, name: str, rows: AsyncIterator[Record], *, head: bytes = b"[", tail: bytes = b"]"
) -> None:
    """Write a file of JSON between `head` and `tail`, a page of rows at a time."""
    with archive.open(f"{name}.json", "w", force_zip64=True) as file:
        file.write(head)
        before, waiting = b"\n", list[Record]()
        async for row in rows:
            waiting.append(row)
            if len(waiting) == exports.PAGE:
                await asyncio.to_thread(file.write, before + _dump_all(waiting))
                before, waiting = b",\n", []
        if waiting:
            await asyncio.to_thread(file.write, before + _dump_all(waiting))
        file.write(b"\n" + tail)


def _dump_all(rows: Sequence[Record]) -> bytes:
    return b",\n".join(_dump(row) for row in rows)


def _dump(value: object) -> bytes:
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> Any:
    # The database driver's UUIDs are of a class of their own, which orjson does not know.
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := await asyncio.to_thread(file.read, PART_BYTES):
            yield part


async def _abandon(lease: Lease, parts: ExportParts) -> JobStatus | None:
    """Leave a lost job alone, but leave no file of one that was cancelled, or whose account is gone."""
    async with lease.transaction() as session:
        job = await jobs.get(session, lease.job.id)
    if job is not None and job.status != JobStatus.CANCELLED:
        return None
    await parts.storage.delete(key_of(lease.job.user_id, lease.job.id))
    return JobStatus.CANCELLED

"""Writes everything of an account into one zip: JSON of its rows, and the files as they were uploaded."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from little_monster.db.session import Database
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
# Parts of the whole work, for progress: rows, then files.
_ROWS_SHARE, _FILES_SHARE = 0.1, 0.9
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
        await lease.progress("storing", _FILES_SHARE)
        size = await parts.storage.put(key_of(lease.job.user_id, lease.job.id), _read(path))
    async with lease.transaction() as session:
        kept_s = parts.keep.total_seconds()
        await lease.complete_in(session, {"bytes": size, **counts}, kept_s=kept_s)


async def _write(lease: Lease, parts: ExportParts, archive: ZipFile, scratch: Path) -> dict[str, int]:
    """Fill the archive; return how many rows each section has."""
    await lease.progress("collecting", 0.0)
    counts = {}
    for section in SECTIONS:
        async with lease.transaction() as session:
            rows = await exports.rows(session, section, lease.job.user_id)
        counts[section] = len(rows)
        if section == "documents":
            await _add_files(lease, parts, archive, rows, scratch)
        if section == "conversations":
            await _add_conversations(lease, archive, rows)
        else:
            await _add_json(archive, section, rows[0] if section == "profile" else rows)
    return counts


async def _add_files(
    lease: Lease, parts: ExportParts, archive: ZipFile, documents: list[Record], scratch: Path
) -> None:
    """Add the documents' files, and say in each row where its file is; null when the storage has lost it."""
    for number, document in enumerate(documents):
        name = f"documents/{document['id']}{_SUFFIXES[document['file_type']]}"
        try:
            await parts.storage.download(f"{lease.job.user_id}/{document['id']}/original", scratch)
        except NotFound:
            document["file"] = None
            continue
        await asyncio.to_thread(archive.write, scratch, name, ZIP_STORED)
        document["file"] = name
        share = _ROWS_SHARE + (_FILES_SHARE - _ROWS_SHARE) * (number + 1) / len(documents)
        await lease.progress("files", share)


async def _add_conversations(lease: Lease, archive: ZipFile, conversations: list[Record]) -> None:
    for conversation in conversations:
        async with lease.transaction() as session:
            messages = await exports.messages(session, conversation["id"])
        await _add_json(
            archive, f"conversations/{conversation['id']}", {**conversation, "messages": messages}
        )


async def _add_json(archive: ZipFile, name: str, value: object) -> None:
    await asyncio.to_thread(_write_json, archive, name, value)


def _write_json(archive: ZipFile, name: str, value: object) -> None:
    archive.writestr(f"{name}.json", orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2))


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

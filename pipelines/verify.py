"""Compares PostgreSQL, the vector index and the file storage, and mends what differs.

Everything is read once, some at a time, whatever its size. What is young is left alone: a file is stored
before its row is written, and what somebody is about to change anyway is theirs to change.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from little_monster.db.models.embedding_collections import CollectionState
from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import drift, index_outbox
from little_monster.db.repositories.drift import KnownDocument
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.pipelines import retries
from little_monster.pipelines.drift import Seen, differences, have_written, mend
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.pipelines.reconcile import ReconcileParts, reconcile
from little_monster.platform.services.collections import OpenCollection
from little_monster.platform.services.vector_index import VERIFY as KIND
from little_monster.platform.storage import StoredFile

__all__ = ["KIND", "Report", "run_job", "verify", "watch"]

OVERDUE = timedelta(seconds=60)
"""After this time a change that was noted must have been made."""
UPLOADING = timedelta(minutes=10)
"""How long a file may be without its row."""
_PAGE: Final = 500
_LOOKS_AT_ONCE: Final = 16
_NOTED: Final = 100_000
_EXPORTS: Final = "exports"
_OUR_ERROR: Final = "verify_failed", "The check broke off because of an error of ours."

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Report:
    """What was read, what differs, and whether it was mended."""

    documents: int = 0
    passages: int = 0
    points: int = 0
    files: int = 0
    points_without_passage: int = 0
    passages_without_point: int = 0
    points_of_another_owner: int = 0
    files_without_row: int = 0
    rows_without_file: int = 0
    overdue_changes: int = 0
    repaired: bool = False

    @property
    def drift(self) -> int:
        """How much differs."""
        return (
            self.points_without_passage
            + self.passages_without_point
            + self.points_of_another_owner
            + self.files_without_row
            + self.rows_without_file
            + self.overdue_changes
        )


async def run_job(lease: Lease, parts: ReconcileParts) -> JobStatus | None:
    """Compare as a job says and record what was found; None when the lease was lost. Raises as
    `ingest.run_job`."""
    try:
        repair = bool(lease.job.payload.get("repair"))
        report = await lease.guard(verify(parts, repair=repair, lease=lease))
        return await retries.recorded(_complete(lease, report))
    except LeaseLost:
        return None
    except Exception as error:
        _log.exception("verify_failed", job_id=str(lease.job.id), attempt=lease.job.attempts)
        return await retries.retry(lease, error, *_OUR_ERROR)


async def watch(parts: ReconcileParts) -> Report:
    """Compare and mend index and files, as often as workers do it by themselves; files that are missing take
    too long to look for."""
    report = Report(repaired=True)
    await _compare_index(parts, report, None)
    await _compare_files(parts, report)
    if report.drift:
        _log.warning("drift_repaired", **{name: count for name, count in asdict(report).items() if count})
        await reconcile(parts)
    return report


async def verify(parts: ReconcileParts, *, repair: bool, lease: Lease | None = None) -> Report:
    """Compare everything; with `repair`, delete what should not be there and have written what should.

    Raises:
        LeaseLost: the job is no longer ours.
        DatabaseUnavailable, Unavailable: a part does not answer.
    """
    report = Report(repaired=repair)
    await _count_overdue(parts, report)
    await _compare_index(parts, report, lease)
    await _compare_files(parts, report)
    await _look_for_files(parts, report, lease)
    if repair:
        await reconcile(parts)
    return report


async def _complete(lease: Lease, report: Report) -> JobStatus:
    async with lease.transaction() as session:
        await lease.complete_in(session, {**asdict(report), "drift": report.drift})
    return JobStatus.COMPLETED


async def _count_overdue(parts: ReconcileParts, report: Report) -> None:
    async with parts.database.session(None) as session:
        report.overdue_changes = await index_outbox.overdue(session, OVERDUE)


async def _compare_index(parts: ReconcileParts, report: Report, lease: Lease | None) -> None:
    for collection in await parts.shelf.all():
        seen, noted = Seen(), set[tuple[UUID, UUID]]()
        async for found in differences(parts.database, collection.index, seen):
            await _told(lease, "comparing the index", seen.points)
            for one in found:
                if one.kind == "missing":
                    # One that is being built has not got all of them yet.
                    report.passages_without_point += not _is_built(collection)
                elif one.kind == "orphan":
                    report.points_without_passage += 1
                else:
                    report.points_of_another_owner += 1
            if report.repaired:
                missing = await mend(collection.index, found) - noted
                await have_written(parts.database, missing)
                # To note one twice costs a look.
                noted = missing if len(noted) > _NOTED else noted | missing
        report.points += seen.points
        if collection.row.state == CollectionState.LIVE:
            report.passages = seen.chunks


def _is_built(collection: OpenCollection) -> bool:
    return collection.row.state == CollectionState.BUILDING


async def _compare_files(parts: ReconcileParts, report: Report) -> None:
    """Find the files that no document and no export leads to."""
    youngest = datetime.now(UTC) - UPLOADING
    async for files in parts.storage.list():
        report.files += len(files)
        old = {file: ids for file in files if file.modified < youngest and (ids := _ids(file)) is not None}
        orphans = await _without_row(parts, old)
        report.files_without_row += len(orphans)
        if report.repaired:
            for file in orphans:
                await parts.storage.delete(file.key)


def _ids(file: StoredFile) -> tuple[UUID, UUID] | None:
    """Return whose a file is, and the document or job that leads to it; None when it is none of ours."""
    owner, _, rest = file.key.partition("/")
    name = rest.removeprefix(f"{_EXPORTS}/").partition("/")[0].partition(".")[0]
    try:
        return UUID(owner), UUID(name)
    except ValueError:
        return None


async def _without_row(parts: ReconcileParts, files: dict[StoredFile, tuple[UUID, UUID]]) -> list[StoredFile]:
    ids = [one for _, one in files.values()]
    async with parts.database.session(None) as session:
        known = await drift.known(session, ids)
        busy = await index_outbox.about(session, ids, [owner for owner, _ in files.values()])
    return [file for file, (owner, one) in files.items() if one not in known and not {owner, one} & busy]


async def _look_for_files(parts: ReconcileParts, report: Report, lease: Lease | None) -> None:
    """Find the documents whose file is missing; only an upload brings it back."""
    async for documents in _documents(parts):
        report.documents += len(documents)
        await _told(lease, "looking for files", report.documents)
        kept = [one for one in documents if one.status != EmbeddingStatus.FAILED]
        places = asyncio.Semaphore(_LOOKS_AT_ONCE)

        async def is_there(key: str, places: asyncio.Semaphore = places) -> bool:
            async with places:
                return await parts.storage.exists(key)

        found = await asyncio.gather(*(is_there(one.file_url) for one in kept))
        missing = [one.id for one, there in zip(kept, found, strict=True) if not there]
        async with parts.database.session(None) as session:
            # Those that were deleted meanwhile miss nothing.
            report.rows_without_file += len(await drift.states(session, missing))


async def _documents(parts: ReconcileParts) -> AsyncIterator[Sequence[KnownDocument]]:
    after: UUID | None = None
    while True:
        async with parts.database.session(None) as session:
            page = await drift.scan_documents(session, after, _PAGE)
        if not page:
            return
        yield page
        after = page[-1].id


async def _told(lease: Lease | None, stage: str, done: int) -> None:
    if lease is not None:
        await lease.progress(stage, 0.5, Counts(done, done, Unit.ROWS))

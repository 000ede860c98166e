"""What a worker of the queue does: its kinds of jobs, and its routines."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.pipelines import export, ingest, reembed, verify
from little_monster.pipelines.consumer import Consumer, Routine, Work
from little_monster.pipelines.export import ExportParts
from little_monster.pipelines.fill import Fill
from little_monster.pipelines.gate import Evaluation
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.library.run import fail_lost
from little_monster.pipelines.reconcile import ReconcileParts, reconcile
from little_monster.pipelines.reembed import ReembedParts
from little_monster.platform.cache import Redis
from little_monster.platform.engines.protocols import Moderator
from little_monster.platform.services.collections import Shelf
from little_monster.platform.services.exports import delete_expired
from little_monster.platform.services.library import LIBRARY
from little_monster.platform.services.moderation import retry_pending
from little_monster.platform.services.planner.reminders import emit_due
from little_monster.platform.services.retention import sweep
from little_monster.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What jobs and routines work with."""

    settings: Settings
    ingest: IngestParts
    moderator: Moderator
    redis: Redis
    shelf: Shelf
    fill: Fill
    evaluation: Evaluation | None = None

    @property
    def reconciling(self) -> ReconcileParts:
        return ReconcileParts(self.ingest.database, self.ingest.storage, self.shelf)


def new_consumer(url: str, parts: WorkerParts, *, concurrency: int, grace_s: float) -> Consumer:
    """Return a worker for all kinds of jobs.

    Args:
        url: where the queue is.
        parts: what the work needs.
        concurrency: jobs at once at most; two at least.
        grace_s: seconds that running jobs have to end when it stops.
    """
    return Consumer(
        parts.ingest.database,
        url,
        works(parts),
        routines=routines(parts),
        concurrency=concurrency,
        grace_s=grace_s,
    )


def works(parts: WorkerParts) -> Mapping[str, Work]:
    """Return what is done by kind of job."""
    keep = timedelta(days=parts.settings.storage.export_days)
    exports = ExportParts(parts.ingest.database, parts.ingest.storage, keep)

    changes = ReembedParts(parts.reconciling, parts.fill, parts.evaluation)

    async def run_ingest(lease: Lease) -> JobStatus | None:
        # Model and collection of one kind from beginning to end, whatever takes their place meanwhile.
        live = await parts.shelf.live(fresh=True)
        return await ingest.run_job(lease, replace(parts.ingest, embedder=live.embedder, index=live.index))

    return {
        ingest.KIND: run_ingest,
        export.KIND: lambda lease: export.run_job(lease, exports),
        LIBRARY: fail_lost,
        reembed.KIND: lambda lease: reembed.run_job(lease, changes),
        verify.KIND: lambda lease: verify.run_job(lease, parts.reconciling),
    }


def routines(parts: WorkerParts) -> tuple[Routine, ...]:
    """Return what is done again and again: reminders four times a minute, what index
    and storage have to change every five seconds, the rest by the minute or hour."""
    database, storage, settings = parts.ingest.database, parts.ingest.storage, parts.settings
    timeout_s = settings.content.moderation_timeout_s
    return (
        Routine("send_reminders", "* * * * * */15", lambda: emit_due(database, datetime.now(UTC))),
        Routine("requeue_lost_jobs", "* * * * * 30", lambda: jobs.requeue_lost(database)),
        Routine(
            "moderate_what_waits",
            "* * * * * 45",
            lambda: retry_pending(database, parts.moderator, parts.redis, timeout_s=timeout_s),
        ),
        Routine("reconcile", "* * * * * */5", lambda: reconcile(parts.reconciling)),
        Routine("delete_expired_exports", "7 * * * * 0", lambda: delete_expired(database, storage)),
        Routine("mend_drift", "37 * * * * 0", lambda: verify.watch(parts.reconciling)),
        Routine("sweep", "17 * * * * 0", lambda: sweep(database, settings.retention)),
    )

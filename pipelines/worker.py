"""What a worker of the queue does: its kinds of jobs, and its routines."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from little_monster.db.repositories import jobs
from little_monster.pipelines import export, ingest
from little_monster.pipelines.consumer import Consumer, Routine, Work
from little_monster.pipelines.export import ExportParts
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.library.run import fail_lost
from little_monster.platform.cache import Redis
from little_monster.platform.engines.protocols import Moderator
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
    return {
        ingest.KIND: lambda lease: ingest.run_job(lease, parts.ingest),
        export.KIND: lambda lease: export.run_job(lease, exports),
        LIBRARY: fail_lost,
    }


def routines(parts: WorkerParts) -> tuple[Routine, ...]:
    """Return what is done again and again: reminders four times a minute, the rest by the minute or hour."""
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
        Routine("delete_expired_exports", "7 * * * * 0", lambda: delete_expired(database, storage)),
        Routine("sweep", "17 * * * * 0", lambda: sweep(database, settings.retention)),
    )

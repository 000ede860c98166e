"""What a worker of the queue does: its kinds of jobs, and its routines."""

from collections.abc import Mapping
from datetime import UTC, datetime

from little_monster.db.repositories import jobs
from little_monster.pipelines import export, ingest
from little_monster.pipelines.consumer import Consumer, Routine, Work
from little_monster.pipelines.export import ExportParts
from little_monster.pipelines.ingest import IngestParts
from little_monster.platform.services.planner.reminders import emit_due
from little_monster.platform.services.retention import sweep
from little_monster.platform.settings import RetentionSettings


def new_consumer(
    url: str, parts: IngestParts, *, retention: RetentionSettings, concurrency: int, grace_s: float
) -> Consumer:
    """Return a worker for all kinds of jobs.

    Args:
        url: where the queue is.
        parts: what the work needs.
        retention: for how long what has ended is kept.
        concurrency: jobs at once at most; two at least.
        grace_s: seconds that running jobs have to end when it stops.
    """
    return Consumer(
        parts.database,
        url,
        _works(parts),
        routines=_routines(parts, retention),
        concurrency=concurrency,
        grace_s=grace_s,
    )


def _works(parts: IngestParts) -> Mapping[str, Work]:
    exports = ExportParts(parts.database, parts.storage)
    return {
        ingest.KIND: lambda lease: ingest.run_job(lease, parts),
        export.KIND: lambda lease: export.run_job(lease, exports),
    }


def _routines(parts: IngestParts, retention: RetentionSettings) -> tuple[Routine, ...]:
    database = parts.database
    return (
        Routine("send_reminders", "* * * * * */15", lambda: emit_due(database, datetime.now(UTC))),
        Routine("requeue_lost_jobs", "* * * * * 30", lambda: jobs.requeue_lost(database)),
        Routine("sweep", "17 * * * * 0", lambda: sweep(database, retention)),
    )

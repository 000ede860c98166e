"""Deletes what has ended, after the time that the settings say."""

from datetime import timedelta

import structlog

from little_monster.db.repositories import retention
from little_monster.db.repositories.retention import Kind
from little_monster.db.session import Database
from little_monster.platform.settings import RetentionSettings

BATCH = 1_000
"""Rows that one transaction deletes at most, so that it holds none of them for long."""

MAX_BATCHES = 100
"""Batches of one kind at one time; what is left waits for the next hour."""

_log = structlog.get_logger(__name__)


async def sweep(
    database: Database, settings: RetentionSettings, *, batch: int = BATCH, max_batches: int = MAX_BATCHES
) -> dict[Kind, int]:
    """Delete what has ended of every kind; return how many rows of each went. It may be repeated, stopped and
    run by many.

    Raises:
        DatabaseUnavailable: what is left goes the next time.
    """
    swept = {}
    for kind in Kind:
        kept = timedelta(days=getattr(settings, f"{kind.value}_days"))
        swept[kind] = await _sweep(database, kind, kept, batch, max_batches)
    if any(swept.values()):
        _log.info("swept", **{kind.value: count for kind, count in swept.items() if count})
    return swept


async def _sweep(database: Database, kind: Kind, kept: timedelta, batch: int, max_batches: int) -> int:
    total = 0
    for _ in range(max_batches):
        async with database.session(None) as session:
            gone = await retention.sweep(session, kind, kept, limit=batch)
        total += gone
        if gone < batch:
            break
    return total

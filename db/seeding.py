"""Fill a database with a demonstration's rows by COPY, as the role that owns the tables.

The triggers that count do not run: the rows bring their counts. Foreign keys are checked as always. All of it
is one transaction, under a lock that lets others read and nobody write to these tables meanwhile.
"""

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg

from little_monster.db.engine import plain_dsn
from little_monster.db.errors import DatabaseUnavailable, SeedRefused
from little_monster.db.seed_rows import Batch, SeedPlan, SeedRows

Progress = Callable[[str, int, int], None]
"""Told now and then: the table, how many of its rows are written, and how many there are to be."""

TABLES = ("users", "videos", "comments", "ratings", "user_documents", "document_chunks")
_TELL_EVERY = 2_000


async def seed(
    owner_url: str, plan: SeedPlan, password_hash: str, *, force: bool, progress: Progress
) -> dict[str, int]:
    """Write all rows of `plan`, or none; return how many went into which table. `force` allows it beside
    accounts that are there.

    Raises:
        SeedRefused: there are accounts, the same seed was used before, a table is missing, or the role may
        not write to it.
        DatabaseUnavailable: the database does not answer.
    """
    try:
        connection = await asyncpg.connect(plain_dsn(owner_url), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"no connection: {type(error).__name__}: {error}") from error
    try:
        async with connection.transaction():
            written = await _fill(connection, SeedRows(plan, password_hash), force=force, progress=progress)
        # Without it the planner would take the tables for empty until autovacuum comes by.
        await connection.execute(f"ANALYZE {', '.join(TABLES)}")
    except asyncpg.UniqueViolationError:
        raise SeedRefused("the database has rows of this seed already; another seed makes others") from None
    except asyncpg.UndefinedTableError:
        raise SeedRefused("the database has no tables yet; migrate it first") from None
    except asyncpg.PostgresError as error:
        raise SeedRefused(str(error)) from error
    except (OSError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"{type(error).__name__}: {error}") from error
    finally:
        await connection.close()
    return written


async def _fill(connection: Any, rows: SeedRows, *, force: bool, progress: Progress) -> dict[str, int]:
    await connection.execute(f"LOCK {', '.join(TABLES)} IN SHARE ROW EXCLUSIVE MODE")
    # Forced row level security binds an owner that is no superuser, who could not even see that there are
    # accounts; for this transaction it is not forced.
    bound = await connection.fetchval("SELECT row_security_active('users')")
    if bound:
        await _alter(connection, "NO FORCE ROW LEVEL SECURITY")
    if not force and await connection.fetchval("SELECT EXISTS (SELECT FROM users)"):
        raise SeedRefused("the database has accounts already")
    await _alter(connection, "DISABLE TRIGGER USER")
    written = {batch.table: await _copy(connection, batch, progress) for batch in rows.batches()}
    await _alter(connection, "ENABLE TRIGGER USER")
    if bound:
        await _alter(connection, "FORCE ROW LEVEL SECURITY")
    return written


async def _copy(connection: Any, batch: Batch, progress: Progress) -> int:
    progress(batch.table, 0, batch.count)
    await connection.copy_records_to_table(
        batch.table, columns=batch.columns, records=_told(batch, progress), timeout=None
    )
    progress(batch.table, batch.count, batch.count)
    return batch.count


def _told(batch: Batch, progress: Progress) -> Iterator[tuple[Any, ...]]:
    for number, record in enumerate(batch.records):
        if number % _TELL_EVERY == 0:
            progress(batch.table, number, batch.count)
        yield record


async def _alter(connection: Any, change: str) -> None:
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} {change}")

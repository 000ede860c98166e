"""The queue that jobs wait in: PgQueuer's tables, in the schema `queue` of the same database.

A job is two rows that are made in one transaction: that of `jobs`, which its owner sees, and one here, which
holds no more than its id and waits for a worker. Who may see which row stands in `db/policies/queue.py`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import cast
from uuid import UUID

import asyncpg
from pgqueuer import AsyncpgDriver, Queries
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.schema_ddl import (
    render_enum,
    render_function,
    render_index,
    render_table,
    render_trigger,
    render_uninstall,
)
from pgqueuer.domain.schema.declaration import target
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel, JobId
from pgqueuer.ports.driver import Driver

from little_monster.db.engine import plain_dsn
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.session import Session

# Each name is given, as PgQueuer would take the others from variables called FUNCTION, TRIGGER or CHANNEL.
SETTINGS = DBSettings(
    prefix="",
    db_schema="queue",
    channel=Channel("ch_pgqueuer"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
)
OWNER = "owner"
"""The header of an entry that names the user of its job."""

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a connection raises that is lost, or could not be made."""


class _SessionDriver:
    """PgQueuer's way to the connection of a session, inside of its transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # PgQueuer sends the statements of one call at once; a session takes one after the other.
        self._lock = asyncio.Lock()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Return the rows of a statement."""
        async with self._lock:
            result = await (await self._session.connection()).exec_driver_sql(query, args)
            return [dict(row) for row in result.mappings()]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement that returns nothing."""
        async with self._lock:
            await (await self._session.connection()).exec_driver_sql(query, args)
        return ""

    async def notify(self, channel: str, payload: str) -> None:
        """Send a word when the transaction ends."""
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)


async def enqueue(session: Session, kind: str, job_id: UUID, owner: UUID) -> int | None:
    """Let a job wait for a worker of its kind, from the end of this transaction on.

    Returns:
        The entry's id; None when the job has one that waits or is being worked on.
    """
    (entry,) = await _inside(session).enqueue(
        kind, job_id.bytes, headers={OWNER: str(owner)}, dedupe_key=str(job_id), on_conflict="skip"
    )
    return entry


async def cancel(session: Session, entries: Sequence[int]) -> None:
    """Take entries out of the queue, and tell the worker of each that is being worked on, when this
    transaction ends. Others, and those of other users, are left alone.
    """
    if entries:
        await _inside(session).mark_job_as_cancelled([JobId(entry) for entry in entries])


async def count(session: Session) -> int:
    """Return how many entries wait or are being worked on; works for nobody's session."""
    sizes = await _inside(session).queue_size()
    return sum(size.count for size in sizes if size.status in ("queued", "picked"))


@contextlib.asynccontextmanager
async def connected(
    url: str, *, timeout_s: float = 10.0
) -> AsyncIterator[tuple[AsyncpgDriver, asyncio.Event]]:
    """A connection of its own for one worker, and the event that says that it is lost.

    Raises:
        DatabaseUnavailable: there is none.
    """
    try:
        connection = await asyncpg.connect(plain_dsn(url), timeout=timeout_s, command_timeout=60)
    except LOST as error:
        raise DatabaseUnavailable(f"no connection: {type(error).__name__}") from error
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    try:
        yield AsyncpgDriver(connection), lost
    finally:
        connection.terminate()


def _inside(session: Session) -> Queries:
    # Of PgQueuer's driver only what these calls use is there.
    return queries(cast("Driver", _SessionDriver(session)))


def queries(driver: Driver) -> Queries:
    """Return PgQueuer's queries with our names."""
    return Queries(
        driver,
        QueryBuilderEnvironment(SETTINGS),
        QueryQueueBuilder(SETTINGS),
        QuerySchedulerBuilder(SETTINGS),
    )


def install() -> list[str]:
    """Return what makes the tables of the release that is installed, a statement each."""
    schema = target(SETTINGS)
    return [
        *(render_enum(entry, SETTINGS) for entry in schema.enums),
        *(render_table(entry, SETTINGS) for entry in schema.tables),
        *(render_index(entry, SETTINGS) for entry in schema.indexes),
        *(render_function(entry, SETTINGS) for entry in schema.functions),
        *(render_trigger(entry, SETTINGS) for entry in schema.triggers),
    ]


def uninstall() -> list[str]:
    """Return what removes them."""
    return render_uninstall(SETTINGS).splitlines()

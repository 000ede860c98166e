"""Connections to PostgreSQL that begin a transaction and name its user in one round trip."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from little_monster.db.errors import DatabaseUnavailable

USER_SETTING = "app.user_id"


class TenantConnection(asyncpg.Connection):
    """An asyncpg connection whose next BEGIN also sets the user of that transaction.

    SQLAlchemy begins lazily, by `Connection.transaction().start()`, which ends in `execute("BEGIN;")`.
    Sending both statements as one simple query saves the round trip that a SET LOCAL of its own would cost.
    """

    __slots__ = ("next_user",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.next_user: UUID | None = None

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a command; see `asyncpg.Connection.execute`."""
        if self.next_user is not None and query.startswith("BEGIN"):
            query = f"{query} SET LOCAL {USER_SETTING} = '{self.next_user}'"
            self.next_user = None
        return await super().execute(query, *args, **options)

    async def begin_as(self, user_id: UUID | None) -> None:
        """Begin a read-only transaction of `user_id`: one round trip."""
        self.next_user = user_id
        await self.execute("BEGIN READ ONLY;")


def create_engine(
    url: str, *, pool_size: int = 10, pool_timeout_s: float = 5.0, statement_timeout_ms: int = 15_000
) -> AsyncEngine:
    """Make an engine; nothing connects before the first statement.

    Args:
        url: a libpq DSN as asyncpg reads it, also through a Unix socket
        (`postgresql://user@/name?host=/folder`). pool_size: most connections open at once. pool_timeout_s:
        seconds to wait for a free connection, and for a new one to open. statement_timeout_ms: milliseconds
        after which the server ends a statement; 0 means never.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=_connector(plain_dsn(url), pool_timeout_s, statement_timeout_ms),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_s,
        pool_use_lifo=True,
        # An error's text goes to logs: what the statement was given stays out of it.
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "checkin", _discard_unclean)
    return engine


def plain_dsn(url: str) -> str:
    """Return the DSN without SQLAlchemy's driver name, as asyncpg wants it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def _connector(dsn: str, timeout_s: float, statement_timeout_ms: int) -> Callable[[], Awaitable[Any]]:
    # JIT compiles for longer than the short statements of a service run.
    settings = {
        "application_name": "little-monster",
        "statement_timeout": str(statement_timeout_ms),
        "idle_in_transaction_session_timeout": "60000",
        "timezone": "UTC",
        "jit": "off",
    }

    async def connect() -> Any:
        try:
            return await asyncpg.connect(
                dsn, connection_class=TenantConnection, timeout=timeout_s, server_settings=settings
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnavailable(f"no connection: {type(error).__name__}: {error}") from error

    return connect


def _refuse_closed(connection: Any, _record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Let the pool open a new connection for one that the server closed meanwhile; asyncpg knows without
    asking.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed the connection")


def _discard_unclean(connection: Any, record: ConnectionPoolEntry) -> None:
    """Drop a connection that comes back inside a transaction: the next user would continue the last one's."""
    if connection is None:
        return
    driver = connection.driver_connection
    driver.next_user = None
    if not driver.is_closed() and driver.is_in_transaction():
        record.invalidate()

"""Connections to PostgreSQL that begin a transaction and name its user in one round trip."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from little_monster.db.errors import DatabaseUnavailable

USER_SETTING = "app.user_id"


@dataclass(frozen=True, slots=True)
class Options:
    """How connections are opened, and how many.

    Args:
        pool_size: most connections open at once.
        pool_timeout_s: seconds to wait for a free connection.
        connect_timeout_s: seconds to wait for a new one to open.
        statement_timeout_ms: milliseconds after which the server ends a statement; 0 means never.
        transaction_pooler: behind the URL stands PgBouncer, or one like it, whose connections belong to no
            client for longer than a transaction: nothing is prepared or set for longer than that.
    """

    pool_size: int = 10
    pool_timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    statement_timeout_ms: int = 15_000
    transaction_pooler: bool = False


_USUAL = Options()


class TenantConnection(asyncpg.Connection):
    """An asyncpg connection whose next BEGIN also sets the user of that transaction.

    SQLAlchemy begins lazily, by `Connection.transaction().start()`, which ends in `execute("BEGIN;")`.
    Sending all as one simple query saves the round trip that a SET LOCAL of its own would cost.
    """

    __slots__ = ("begin_with", "next_readonly", "next_user")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begin_with = ""
        self.forget_next()

    def name_next(self, user_id: UUID | None, *, readonly: bool) -> None:
        """Say whose the next transaction is, and whether it may write."""
        self.next_user, self.next_readonly = user_id, readonly

    def forget_next(self) -> None:
        """Let the next transaction be nobody's."""
        self.next_user, self.next_readonly = None, False

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a command; see `asyncpg.Connection.execute`."""
        if query.startswith("BEGIN"):
            query = self._begin(query)
        return await super().execute(query, *args, **options)

    def _begin(self, query: str) -> str:
        if self.next_readonly:
            query = query.replace("BEGIN", "BEGIN READ ONLY", 1)
        query += self.begin_with
        if self.next_user is not None:
            query += f" SET LOCAL {USER_SETTING} = '{self.next_user}'"
        self.forget_next()
        return query

    async def begin_as(self, user_id: UUID | None) -> None:
        """Begin a read-only transaction of `user_id`: one round trip."""
        self.name_next(user_id, readonly=True)
        await self.execute("BEGIN;")


def create_engine(url: str, options: Options = _USUAL, **others: Any) -> AsyncEngine:
    """Make an engine; nothing connects before the first statement.

    Args:
        url: a libpq DSN as asyncpg reads it, also through a Unix socket
            (`postgresql://user@/name?host=/folder`).
        others: what is to be other than in `options`.
    """
    wanted = replace(options, **others)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector(url, wanted),
        pool_size=wanted.pool_size,
        max_overflow=0,
        pool_timeout=wanted.pool_timeout_s,
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


def connector(url: str, options: Options) -> Callable[[], Awaitable[TenantConnection]]:
    """Return what opens a connection to `url`.

    Raises, when called:
        DatabaseUnavailable: there is none.
    """
    # JIT compiles for longer than the short statements of a service run.
    settings = {
        "statement_timeout": str(options.statement_timeout_ms),
        "idle_in_transaction_session_timeout": "60000",
        "jit": "off",
    }
    # PgBouncer gives these, and no others, to whichever connection serves the client.
    always = {"application_name": "little-monster", "timezone": "UTC"}
    arguments: dict[str, Any] = {"server_settings": {**always, **settings}}
    begin_with = ""
    if options.transaction_pooler:
        # Without a cache asyncpg leaves statements unnamed, and sends each along whenever it is run.
        arguments = {"server_settings": always, "statement_cache_size": 0}
        begin_with = "".join(f" SET LOCAL {name} = '{value}';" for name, value in settings.items())

    async def connect() -> TenantConnection:
        try:
            connection: TenantConnection = await asyncpg.connect(
                plain_dsn(url),
                connection_class=TenantConnection,
                timeout=options.connect_timeout_s,
                **arguments,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnavailable(f"no connection: {type(error).__name__}: {error}") from error
        connection.begin_with = begin_with
        return connection

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
    driver.forget_next()
    if not driver.is_closed() and driver.is_in_transaction():
        record.invalidate()

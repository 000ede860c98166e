"""Transactions on one PostgreSQL server, each as one user."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID
from weakref import WeakSet

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session as SyncSession

from little_monster.db import role_check
from little_monster.db.engine import TenantConnection
from little_monster.db.errors import DatabaseUnavailable, DiskFull, NoneFree, StatementTimeout, WriteConflict
from little_monster.db.reads import ByKey, Model, Readers, Reading

Session = AsyncSession

_TIMEOUT, _DISK_FULL = "57014", "53100"
# SQLSTATEs of serialization failures and deadlocks: the transaction is rolled back, and may work at once.
_CONFLICTS = ("40001", "40P01")
# SQLSTATE classes and codes after which the same call may work later: those, connection, resources, shutdown
# and statement timeout.
_PASSING = ("08", "53", "57P0", _TIMEOUT, *_CONFLICTS)


class _TenantSession(SyncSession):
    """A session that tells its connection, when it takes one, who the next transaction belongs to."""


@event.listens_for(_TenantSession, "after_begin")
def _name_user(session: SyncSession, _transaction: Any, connection: Any) -> None:
    connection.connection.driver_connection.name_next(
        session.info["user_id"], readonly=session.info["readonly"]
    )


class Server:
    """A server, as one role.

    Args:
        engine: of `create_engine`; `close` disposes of it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._readers = Readers(engine)
        self._sessions = async_sessionmaker(engine, sync_session_class=_TenantSession, expire_on_commit=False)
        self._open: WeakSet[TenantConnection] = WeakSet()
        event.listen(engine.sync_engine, "connect", self._remember)

    def _remember(self, connection: Any, _record: Any) -> None:
        self._open.add(connection.driver_connection)

    @asynccontextmanager
    async def session(self, user_id: UUID | None, *, readonly: bool = False) -> AsyncIterator[Session]:
        """One transaction as `user_id`; as nobody, who sees no row of a tenant, when None.

        Raises:
            DatabaseUnavailable: no connection, none free in time, or the statement ran out of time.
        """
        info = {"user_id": _checked(user_id), "readonly": readonly}
        with _translated():
            async with self._sessions(info=info) as session, session.begin():
                yield session

    @asynccontextmanager
    async def reading(self, user_id: UUID | None) -> AsyncIterator[Reading]:
        """One read-only transaction as `user_id`, past the ORM's session. Raises as `session`."""
        with _translated_reads():
            async with self._readers.reading(_checked(user_id)) as reading:
                yield reading

    async def read(self, user_id: UUID | None, query: ByKey[Model], key: UUID) -> Model | None:
        """Return the row of `key` as `user_id` sees it, None when that is no row. Raises as `session`."""
        async with self.reading(user_id) as reading:
            return await reading.find(query, key)

    async def check(self) -> None:
        """Return when the server answers.

        Raises:
            DatabaseUnavailable: it does not.
        """
        async with self.session(None) as session:
            await session.execute(text("SELECT 1"))

    async def check_role(self) -> None:
        """Return when row level security binds the role.

        Raises:
            UnsafeRole: it does not.
            DatabaseUnavailable: the server does not answer.
        """
        async with self.session(None) as session:
            problem, role = (await session.execute(text(role_check.PROBLEMS))).one()
        role_check.require_safe(problem, role)

    def cut(self) -> None:
        """End all connections at once, with what waits on them."""
        for connection in [*self._open]:
            connection.terminate()

    async def close(self) -> None:
        """Close all connections."""
        await self._readers.close()
        await self._engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn failures that pass into `DatabaseUnavailable`, and let all others through."""
    try:
        yield
    except PoolTimeout as error:
        raise _none_free() from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or state.startswith(_PASSING):
            raise _passing(error.orig, state) from error
        raise


@contextmanager
def _translated_reads() -> Iterator[None]:
    """The same for what comes from the driver itself."""
    try:
        yield
    except (PoolTimeout, TimeoutError) as error:
        raise _none_free() from error
    except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
        if (state := getattr(error, "sqlstate", None)) and not state.startswith(_PASSING):
            raise
        raise _passing(error, state or "") from error


def _passing(error: BaseException | None, state: str) -> DatabaseUnavailable:
    kind = DatabaseUnavailable
    if state in _CONFLICTS:
        kind = WriteConflict
    elif state == _TIMEOUT:
        kind = StatementTimeout
    elif state == _DISK_FULL:
        kind = DiskFull
    return kind(f"{type(error).__name__} {state}".strip())


def _none_free() -> NoneFree:
    return NoneFree("no free connection in time")


def _checked(user_id: UUID | None) -> UUID | None:
    """Return an id that can be written into a command, whatever the caller calls one."""
    return user_id if user_id is None or isinstance(user_id, UUID) else UUID(str(user_id))

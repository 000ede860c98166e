"""Transactions that run as one user, and the checks that make that safe."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session as SyncSession

from little_monster.db.errors import CommitUnknown, DatabaseUnavailable, UnsafeRole, WriteConflict
from little_monster.db.reads import ByKey, Model, Readers

Session = AsyncSession
Result = TypeVar("Result")

# SQLSTATEs of serialization failures and deadlocks: the transaction is rolled back, and may work at once.
_CONFLICTS = ("40001", "40P01")
# SQLSTATE classes and codes after which the same call may work later: those, connection, resources, shutdown
# and statement timeout.
_PASSING = ("08", "53", "57P0", "57014", *_CONFLICTS)

ATTEMPTS = 4
"""How often `Database.run` tries: PostgreSQL looks for a deadlock after a second, so that more would outlast
the patience of who waits."""
_FIRST_PAUSE_S = 0.02

_ROLE_PROBLEMS = text("""
    SELECT CASE
        WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND pg_has_role(r.oid, 'MEMBER'))
            THEN 'is a superuser or can become one'
        WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolbypassrls AND pg_has_role(r.oid, 'MEMBER'))
            THEN 'bypasses row level security or can become a role that does'
        WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%'
                       AND n.nspname <> 'information_schema' AND pg_has_role(c.relowner, 'MEMBER'))
            THEN 'owns tables or can become a role that does'
        WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'lm_system' AND pg_has_role(r.oid, 'MEMBER'))
            THEN 'is a member of lm_system'
        WHEN NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'lm_app' AND pg_has_role(r.oid, 'USAGE'))
            THEN 'is not a member of lm_app'
    END, current_user
""")


class _TenantSession(SyncSession):
    """A session that tells its connection, when it takes one, who the next transaction belongs to."""


@event.listens_for(_TenantSession, "after_begin")
def _name_user(session: SyncSession, _transaction: Any, connection: Any) -> None:
    connection.connection.driver_connection.next_user = session.info["user_id"]


class Database:
    """The database as services see it: transactions that belong to one user.

    Args:
        engine: of `create_engine`; `close` disposes of it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._readers = Readers(engine)
        self._sessions = async_sessionmaker(engine, sync_session_class=_TenantSession, expire_on_commit=False)

    @asynccontextmanager
    async def session(self, user_id: UUID | None) -> AsyncIterator[Session]:
        """One transaction as `user_id`; as nobody, who sees no row of a tenant, when None.

        Commits at the end, rolls back on an error. The user is set with SET LOCAL together with BEGIN, at the
        first statement, so that nothing of it outlives the transaction and an unused session costs nothing.

        Raises:
            DatabaseUnavailable: no connection, none free in time, or the statement ran out of time.
            CommitUnknown: the connection broke at the end.
        """
        leaving = False
        try:
            with translated():
                async with self._sessions(info={"user_id": _checked(user_id)}) as session, session.begin():
                    yield session
                    leaving = True
        except WriteConflict:
            raise
        except DatabaseUnavailable as error:
            if leaving:
                raise CommitUnknown(str(error)) from error
            raise

    async def run(self, user_id: UUID | None, work: Callable[[Session], Awaitable[Result]]) -> Result:
        """Return what `work` returns in one transaction as `user_id`, for rows that others write too.

        Repeats a transaction that PostgreSQL rolled back for the sake of another one: `work` may run more
        than once, so that outside of its session it does nothing that counts.

        Raises:
            WriteConflict: the same happened to each of `ATTEMPTS`.
            DatabaseUnavailable: as of `session`.
        """
        for attempt in range(ATTEMPTS - 1):
            try:
                async with self.session(user_id) as session:
                    return await work(session)
            except WriteConflict:
                # By chance, so that those who met do not meet again.
                await asyncio.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**attempt))
        async with self.session(user_id) as session:
            return await work(session)

    async def read(self, user_id: UUID | None, query: ByKey[Model], key: UUID) -> Model | None:
        """Return the row of `key` as `user_id` sees it, None when that is no row; the short way for a request
        that reads nothing else.

        Raises:
            DatabaseUnavailable: as of `session`.
        """
        try:
            record = await self._readers.fetch(_checked(user_id), query.sql, key)
        except (PoolTimeout, TimeoutError) as error:
            raise _no_connection() from error
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            if (state := getattr(error, "sqlstate", None)) and not state.startswith(_PASSING):
                raise
            raise DatabaseUnavailable(f"{type(error).__name__} {state or ''}".strip()) from error
        return None if record is None else query.load(record)

    async def check(self) -> None:
        """Return when the database answers.

        Raises:
            DatabaseUnavailable: it does not.
        """
        async with self.session(None) as session:
            await session.execute(text("SELECT 1"))

    async def check_role(self) -> None:
        """Return when row level security binds the role that services connect as.

        Raises:
            UnsafeRole: it does not.
            DatabaseUnavailable: the database does not answer.
        """
        async with self.session(None) as session:
            problem, role = (await session.execute(_ROLE_PROBLEMS)).one()
        if problem:
            raise UnsafeRole(f"the database role {role} {problem}")

    async def close(self) -> None:
        """Close all connections."""
        await self._readers.close()
        await self._engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Turn failures that pass into `DatabaseUnavailable`, and let all others through.

    Raises:
        DatabaseUnavailable: see `Database.session`.
    """
    try:
        yield
    except PoolTimeout as error:
        raise _no_connection() from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or state.startswith(_PASSING):
            passing = WriteConflict if state in _CONFLICTS else DatabaseUnavailable
            raise passing(f"{type(error.orig).__name__} {state}".strip()) from error
        raise


def _no_connection() -> DatabaseUnavailable:
    return DatabaseUnavailable("no free connection in time")


def _checked(user_id: UUID | None) -> UUID | None:
    """Return an id that can be written into a command, whatever the caller calls one."""
    return user_id if user_id is None or isinstance(user_id, UUID) else UUID(str(user_id))

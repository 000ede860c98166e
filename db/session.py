"""The database as services see it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from little_monster.db.errors import CommitUnknown, DatabaseUnavailable, WriteConflict
from little_monster.db.reads import ByKey, Model, Reading
from little_monster.db.replica import Replica
from little_monster.db.server import Server, Session

__all__ = ["ATTEMPTS", "Database", "Session", "Source"]

Result = TypeVar("Result")
Source = Session | Reading
"""What repositories take that only read."""

ATTEMPTS = 4
"""How often `Database.run` tries: PostgreSQL looks for a deadlock after a second, so that more would outlast
the patience of who waits."""
_FIRST_PAUSE_S = 0.02


class Database:
    """Transactions that belong to one user.

    Args:
        engine: of `create_engine`, to the primary; `close` disposes of it.
        replica: answers what may be a moment old. `close` closes it.
    """

    def __init__(self, engine: AsyncEngine, replica: Replica | None = None) -> None:
        self._primary = Server(engine)
        self._replica = replica
        self._role_is_safe = False

    def follow_replica(self) -> None:
        """Look at the replica from now on, so that it is used; there may be none."""
        if self._replica is not None:
            self._replica.follow()

    @asynccontextmanager
    async def session(self, user_id: UUID | None) -> AsyncIterator[Session]:
        """One transaction as `user_id`, on the primary; as nobody, who sees no row of a tenant, when None.

        Commits at the end, rolls back on an error. The user is set with SET LOCAL together with BEGIN, at the
        first statement, so that nothing of it outlives the transaction and an unused session costs nothing.

        Raises:
            DatabaseUnavailable: no connection, none free in time, or the statement ran out of time.
            CommitUnknown: the connection broke at the end.
        """
        leaving = False
        try:
            async with self._primary.session(user_id) as session:
                yield session
                leaving = True
        except WriteConflict:
            raise
        except DatabaseUnavailable as error:
            if leaving:
                raise CommitUnknown(str(error)) from error
            raise
        if self._replica is not None and user_id is not None:
            await self._replica.wrote(user_id)

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

    async def query(
        self, user_id: UUID | None, work: Callable[[Session], Awaitable[Result]], *, fresh: bool = False
    ) -> Result:
        """Return what `work` returns in one read-only transaction as `user_id`.

        It sees all that the user has written, and of others what is a moment old, unless it must be `fresh`:
        for what decides something, or is kept. `work` may run again on the primary, when the replica fails.

        Raises:
            DatabaseUnavailable: as of `session`.
        """

        async def ask(server: Server) -> Result:
            async with server.session(user_id, readonly=True) as session:
                return await work(session)

        return await self._ask(user_id, ask, fresh=fresh)

    async def fetch(
        self, user_id: UUID | None, work: Callable[[Reading], Awaitable[Result]], *, fresh: bool = False
    ) -> Result:
        """As `query`, past the ORM's session, for repositories that take a `Source`. An error of the caller
        inside of `work` costs a connection: return what is wrong, and raise it outside.

        Raises:
            DatabaseUnavailable: as of `session`.
        """

        async def ask(server: Server) -> Result:
            async with server.reading(user_id) as reading:
                return await work(reading)

        return await self._ask(user_id, ask, fresh=fresh)

    async def read(
        self, user_id: UUID | None, query: ByKey[Model], key: UUID, *, fresh: bool
    ) -> Model | None:
        """Return the row of `key` as `user_id` sees it, None when that is no row; the short way for a request
        that reads nothing else. `fresh` as of `query`.

        Raises:
            DatabaseUnavailable: as of `session`.
        """
        return await self._ask(user_id, lambda server: server.read(user_id, query, key), fresh=fresh)

    async def _ask(
        self, user_id: UUID | None, ask: Callable[[Server], Awaitable[Result]], *, fresh: bool
    ) -> Result:
        if self._replica is not None and not fresh:
            found = await self._replica.ask(user_id, ask)
            # What is missing there may be new.
            if found is not None:
                return found
        return await ask(self._primary)

    async def check(self) -> None:
        """Return when the primary answers, and its role was found safe once; a replica may be away.

        Raises:
            DatabaseUnavailable: it does not answer.
            UnsafeRole: as of `check_role`.
        """
        if not self._role_is_safe:
            await self.check_role()
            self._role_is_safe = True
        await self._primary.check()

    async def check_role(self) -> None:
        """Return when row level security binds the role that services connect as, on the replica too.

        Raises:
            UnsafeRole: it does not.
            DatabaseUnavailable: the primary does not answer.
        """
        await self._primary.check_role()
        if self._replica is not None:
            await self._replica.check_role()

    async def close(self) -> None:
        """Close all connections."""
        if self._replica is not None:
            await self._replica.close()
        await self._primary.close()

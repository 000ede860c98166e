"""A second server that replays what the primary writes, and when it may answer in its place.

What it has replayed is known by positions in the write-ahead log: once a second the primary is asked where it
is, and the replica how far it has come. When the replica has come to where the primary was at some moment, it
has all that was committed before, whatever its clock says and however it gets there. It answers for a user
who wrote nothing since that moment, as long as that was not too long ago.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy.exc import DBAPIError

from little_monster.db import role_check
from little_monster.db.engine import TenantConnection
from little_monster.db.errors import DatabaseUnavailable, NoneFree, StatementTimeout, WriteConflict
from little_monster.db.server import Server

Result = TypeVar("Result")
Connect = Callable[[], Awaitable[TenantConnection]]

LOOK_EVERY_S = 1.0
"""Seconds between looks at the replica."""
PATIENCE_S = 1.0
"""Seconds after which a look that is not answered counts as the replica's absence."""
REST_S = 5.0
"""Seconds for which nothing is read from a replica that has failed, however well it looks."""

_START = "not_looked_yet"
_BEHIND = "behind"
_PRIMARY = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8"
_SYSTEM = "SELECT system_identifier FROM pg_control_system()"
_REPLAYED = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 WHERE pg_is_in_recovery()"


class Writes(Protocol):
    """When users wrote last, by one clock that all processes share."""

    async def now(self) -> float:
        """Return the time in seconds, and from now on miss no write of any process.

        Raises:
            Exception: nobody knows.
        """
        ...

    async def note(self, user_id: UUID) -> None:
        """Remember that the user has written just now."""
        ...

    async def last(self, user_id: UUID) -> float:
        """Return a time since which the user has not written; infinity when nobody knows."""
        ...


class Observer(Protocol):
    """Who is told what becomes of the replica."""

    def answered(self, *, by_replica: bool) -> None:
        """A read that the replica could have answered was answered, by it or by the primary."""
        ...

    def changed(self, reason: str | None) -> None:
        """From now on the replica is used, or for `reason` is not."""
        ...


class NotReplica(DatabaseUnavailable):
    """What stands at the replica's URL replays nothing, or another server's log."""


class Replica:
    """Reads from the replica, while it is well.

    Args:
        server: the replica. `close` closes it.
        primary, replica: open connections to look with, which stay open.
        max_lag_s: seconds that an answer may be old.
    """

    def __init__(
        self,
        server: Server,
        *,
        primary: Connect,
        replica: Connect,
        writes: Writes,
        max_lag_s: float,
        observer: Observer,
    ) -> None:
        self._server = server
        self._primary, self._replica = _Probe(primary), _Probe(replica, greet=self._require_safe)
        self._writes = writes
        self._max_lag_s = max_lag_s
        self._observer = observer
        self._reason: str | None = _START
        self._rests_until = 0.0
        self._as_of = self._now = self._since = 0.0
        self._passed: deque[tuple[float, int]] = deque(maxlen=600)
        self._following: asyncio.Task[None] | None = None

    async def ask(self, user_id: UUID | None, work: Callable[[Server], Awaitable[Result]]) -> Result | None:
        """Return what `work` returns of the replica; None when the primary is to be asked: the replica is not
        well, has not what this user wrote, or fails.

        Raises:
            StatementTimeout: the primary would take as long.
        """
        result = None
        if self._reason is None and user_id is not None and self._as_of > await self._writes.last(user_id):
            result = await self._try(work)
        self._observer.answered(by_replica=result is not None)
        return result

    async def wrote(self, user_id: UUID) -> None:
        """Remember that a transaction of the user was committed."""
        await self._writes.note(user_id)

    def follow(self) -> None:
        """Look at the replica from now on, until it is closed."""
        self._following = asyncio.create_task(self._follow())

    async def check_role(self) -> None:
        """Return when row level security binds the role here too, or the replica is away: it is asked before
        anything is read.

        Raises:
            UnsafeRole: it does not.
        """
        with contextlib.suppress(DatabaseUnavailable):
            await self._server.check_role()

    async def close(self) -> None:
        """Close all connections."""
        if self._following is not None:
            await _end(self._following)
        self._primary.close()
        self._replica.close()
        await self._server.close()

    async def _try(self, work: Callable[[Server], Awaitable[Result]]) -> Result | None:
        try:
            return await work(self._server)
        except StatementTimeout:
            raise
        except (WriteConflict, NoneFree):
            # It replays something that this read stood in the way of, or others read a lot: it is well.
            return None
        except DatabaseUnavailable as error:
            self._leave(type(error.__cause__ or error).__name__)
            return None
        except (DBAPIError, asyncpg.PostgresError):
            # It may lack what a migration has just made. What is really wrong, the primary says again.
            return None

    async def _follow(self) -> None:
        while True:
            try:
                reason = await self._look()
            except Exception as error:
                self._leave(type(error).__name__)
            else:
                if asyncio.get_running_loop().time() >= self._rests_until:
                    self._change(reason)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> str | None:
        """Find out as of when the replica is; return why it is not to be used, None when it is."""
        before, self._now = self._now, await self._writes.now()
        if not before or self._now < before:
            # It is the first time, or the clock is another one: what was measured with it means nothing.
            self._as_of, self._since = 0.0, self._now
            self._passed.clear()
        self._passed.append((self._now, await self._primary.ask(_PRIMARY)))
        replayed = await self._replica.ask(_REPLAYED)
        while self._passed and self._passed[0][1] <= replayed:
            self._as_of, _ = self._passed.popleft()
        if self._now - max(self._as_of, self._since) > self._max_lag_s:
            return _BEHIND
        return None if self._as_of else _START

    async def _require_safe(self, connection: Any) -> None:
        """Look at what a new connection leads to, before a row is read there."""
        role_check.require_safe(*await connection.fetchrow(role_check.PROBLEMS))
        if await connection.fetchval(_SYSTEM) != await self._primary.ask(_SYSTEM):
            raise NotReplica("it replays the log of another server")

    def _leave(self, reason: str) -> None:
        self._rests_until = asyncio.get_running_loop().time() + REST_S
        self._change(reason)
        # Who waits for an answer that may never come asks the primary instead.
        self._server.cut()

    def _change(self, reason: str | None) -> None:
        before, self._reason = self._reason, reason
        # One reason often leads to the next, which tells nothing new.
        if before != reason and (before == _START or None in (before, reason)):
            self._observer.changed(reason)


async def _end(task: asyncio.Task[None]) -> None:
    # The driver may take a cancellation for one of its own time-outs: then the task lives on.
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class _Probe:
    """A connection that is asked for numbers, and opened again when it was lost.

    Args:
        greet: looks at each new connection before it is used.
    """

    def __init__(self, connect: Connect, greet: Callable[[Any], Awaitable[None]] | None = None) -> None:
        self._connect = connect
        self._greet = greet
        self._connection: Any = None

    async def ask(self, statement: str) -> int:
        """Return the number that the statement selects.

        Raises:
            Exception: there is none, or not in time.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                found: int | None = await (await self._open()).fetchval(statement)
        except BaseException:
            self.close()
            raise
        if found is None:
            raise NotReplica("it replays nothing")
        return found

    async def _open(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            if self._greet is not None:
                await self._greet(self._connection)
        return self._connection

    def close(self) -> None:
        """Close the connection without a word, as nobody may listen."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

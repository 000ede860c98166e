"""Reading one row by its key past the ORM's session, whose bookkeeping costs several times the statement.

A session is still the way to write, and to read more than one thing in one transaction.
"""

import asyncio
from typing import Any, Generic, TypeVar
from uuid import UUID

from asyncpg import Record
from sqlalchemy import Enum, PoolProxiedConnection, bindparam, inspect, select
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from little_monster.db.base import Base

Model = TypeVar("Model", bound=Base)


class ByKey(Generic[Model]):
    """A model's row with a given key: as a statement of asyncpg, and how to make the row of what it returns.

    Args:
        model: a mapped class with one key column. Its rows come as instances that belong to no session and
            are only to be read.
    """

    def __init__(self, model: type[Model]) -> None:
        mapper = inspect(model)
        (key,) = mapper.primary_key
        self._model = model
        statement = select(*mapper.columns).where(key == bindparam("key"))
        self.sql = str(statement.compile(dialect=dialect()))  # type: ignore[no-untyped-call]
        self._names = [mapper.get_property_by_column(column).key for column in mapper.columns]
        # The driver's values are those of the models already, but for the labels of enums.
        self._enums = {
            name: column.type.enum_class
            for name, column in zip(self._names, mapper.columns, strict=True)
            if isinstance(column.type, Enum) and column.type.enum_class is not None
        }

    def load(self, record: Record) -> Model:
        """Return the row that a record of `sql` holds."""
        values = dict(zip(self._names, record, strict=True))
        for name, labels in self._enums.items():
            if (label := values[name]) is not None:
                values[name] = labels(label)
        row = self._model()
        # As the ORM loads rows: past the instrumented attributes, which would note every value as a change.
        row.__dict__.update(values)
        return row


class Readers:
    """Connections for reading: half of the engine's pool, which stay here between reads, as to take one from
    the pool and to give it back costs as much as two statements."""

    def __init__(self, engine: AsyncEngine) -> None:
        pool: Any = engine.sync_engine.pool
        self._engine = engine.sync_engine
        self._idle: list[PoolProxiedConnection] = []
        self._keeps = pool.size() > 1
        self._slots = asyncio.Semaphore(max(1, pool.size() // 2))
        self._timeout_s: float = pool.timeout()

    async def fetch(self, user_id: UUID | None, sql: str, key: UUID) -> Record | None:
        """Return the row that `sql` finds for `user_id`, in a transaction of its own.

        Raises:
            TimeoutError: no connection is free in time.
        """
        if self._slots.locked():
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        try:
            return await self._fetch(user_id, sql, key)
        finally:
            self._slots.release()

    async def _fetch(self, user_id: UUID | None, sql: str, key: UUID) -> Record | None:
        connection = await self._take()
        driver: Any = connection.driver_connection
        try:
            record: Record | None = await driver.fetch_as(user_id, sql, key)
        except BaseException:
            # It may have stopped anywhere in the transaction: nobody gets this connection again.
            await greenlet_spawn(connection.invalidate)
            raise
        if self._keeps:
            self._idle.append(connection)
        else:
            await greenlet_spawn(connection.close)
        return record

    async def _take(self) -> PoolProxiedConnection:
        while self._idle:
            connection = self._idle.pop()
            driver: Any = connection.driver_connection
            if not driver.is_closed():
                return connection
            await greenlet_spawn(connection.invalidate)
        return await greenlet_spawn(self._engine.raw_connection)

    async def close(self) -> None:
        """Give all connections back to the pool."""
        while self._idle:
            await greenlet_spawn(self._idle.pop().close)

"""Reading past the ORM's session, whose bookkeeping costs several times a short statement.

A session is still the way to write, and to read what is then changed. Rows that are read here are instances
that belong to no session.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from asyncpg import Record
from sqlalchemy import BindParameter, Enum, PoolProxiedConnection, Select, bindparam, inspect, select
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapper
from sqlalchemy.util import greenlet_spawn

from little_monster.db.base import Base

Model = TypeVar("Model", bound=Base)

_DIALECT: Dialect = dialect()  # type: ignore[no-untyped-call]


class _Loader(Generic[Model]):
    """Makes rows of a model of what the driver returns for its columns, in the order of `columns`."""

    def __init__(self, model: type[Model]) -> None:
        mapper: Mapper[Model] = inspect(model)
        self._new = mapper.class_manager.new_instance
        shown = [one for one in mapper.column_attrs if not one.deferred]
        self.columns = [one.columns[0] for one in shown]
        self._names = [one.key for one in shown]
        # The driver's values are those of the models already, but for the labels of enums.
        self._enums = {
            one.key: column.type.enum_class
            for one, column in zip(shown, self.columns, strict=True)
            if isinstance(column.type, Enum) and column.type.enum_class is not None
        }

    def load(self, record: Iterable[Any]) -> Model:
        """Return the row that has these values, and perhaps more behind them."""
        values = dict(zip(self._names, record, strict=False))
        for name, labels in self._enums.items():
            if (label := values[name]) is not None:
                values[name] = labels(label)
        # As the ORM loads rows: past the constructor and the instrumented attributes, which would note every
        # value as a change.
        row = self._new()
        row.__dict__.update(values)
        return row


class ByKey(Generic[Model]):
    """A model's row with a given key: as a statement of asyncpg, and how to make the row of what it returns.

    Args:
        model: a mapped class with one key column.
    """

    def __init__(self, model: type[Model]) -> None:
        loader = _Loader(model)
        (key,) = inspect(model).primary_key
        statement = select(*loader.columns).where(key == bindparam("key"))
        self.sql = str(statement.compile(dialect=_DIALECT))
        self.load = loader.load


@cache
def _by_key(model: type[Model]) -> ByKey[Model]:
    return ByKey(model)


class ReadQuery:
    """A SELECT of a model, perhaps with more columns behind it, that is compiled once.

    Args:
        query: what differs between two calls is a `bindparam` in it. Make it once: `functools.cache` on the
            function that builds it.
    """

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        model, *more = (one["expr"] for one in query.column_descriptions)
        self._query = query
        loader = _Loader(model)
        self._load, self._width = loader.load, len(loader.columns)
        self._statement = _Statement(query.with_only_columns(*loader.columns, *more))

    async def models(self, source: "AsyncSession | Reading", values: Mapping[str, Any]) -> list[Any]:
        """Return the model's rows, without more columns."""
        if isinstance(source, Reading):
            return [self._load(record) for record in await self._statement.fetch(source, values)]
        return [*await source.scalars(self._query, values)]

    async def rows(self, source: "AsyncSession | Reading", values: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Return the model's rows, each with the columns behind it."""
        if isinstance(source, Reading):
            found = await self._statement.fetch(source, values)
            return [(self._load(record), *record[self._width :]) for record in found]
        return [*await source.execute(self._query, values)]


class ReadColumns:
    """A SELECT of columns that is compiled once. Its values are the driver's: an enum is its label.

    Args:
        query: as for `ReadQuery`.
    """

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        self._query, self._statement = query, _Statement(query)

    async def rows(self, source: "AsyncSession | Reading", values: Mapping[str, Any]) -> list[Any]:
        """Return the values of each row, in the order of the columns."""
        if isinstance(source, Reading):
            return await self._statement.fetch(source, values)
        return [*await source.execute(self._query, values)]


class _Statement:
    """A compiled SELECT, as the driver takes it."""

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        compiled: Any = query.compile(dialect=_DIALECT)
        if compiled.literal_execute_params or compiled.post_compile_params:
            raise TypeError("a statement whose text depends on its values is for a session")
        self._sql = str(compiled)
        self._binds = [_Bind(compiled.binds[name]) for name in compiled.positiontup or ()]

    async def fetch(self, reading: "Reading", values: Mapping[str, Any]) -> list[Record]:
        return await reading.fetch(self._sql, [bind.value(values) for bind in self._binds])


class _Bind:
    """A parameter, as the driver takes its value."""

    def __init__(self, bind: BindParameter[Any]) -> None:
        self._name = bind.key
        self._default = None if bind.required else bind.effective_value
        self._process = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)

    def value(self, values: Mapping[str, Any]) -> Any:
        value = values.get(self._name, self._default)
        return value if self._process is None else self._process(value)


class Reading:
    """What repositories read with in the place of a session, in one read-only transaction of one user."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def get(self, model: type[Model], key: UUID) -> Model | None:
        """Return the row of `key`, None when the user sees none."""
        return await self.find(_by_key(model), key)

    async def find(self, query: ByKey[Model], key: UUID) -> Model | None:
        """The same, for who has the query."""
        record = await self._driver.fetchrow(query.sql, key)
        return None if record is None else query.load(record)

    async def fetch(self, sql: str, values: Sequence[Any]) -> list[Record]:
        """Return what a statement of asyncpg finds."""
        records: list[Record] = await self._driver.fetch(sql, *values)
        return records


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

    @asynccontextmanager
    async def reading(self, user_id: UUID | None) -> AsyncIterator[Reading]:
        """One read-only transaction as `user_id`.

        Raises:
            TimeoutError: no connection is free in time.
        """
        if self._slots.locked():
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        try:
            connection = await self._take()
            try:
                driver: Any = connection.driver_connection
                await driver.begin_as(user_id)
                yield Reading(driver)
                await driver.execute("COMMIT;")
            except BaseException:
                # It may have stopped anywhere in the transaction: nobody gets this connection again.
                await greenlet_spawn(connection.invalidate)
                raise
            await self._keep(connection)
        finally:
            self._slots.release()

    async def _take(self) -> PoolProxiedConnection:
        while self._idle:
            connection = self._idle.pop()
            driver: Any = connection.driver_connection
            if not driver.is_closed():
                return connection
            await greenlet_spawn(connection.invalidate)
        return await greenlet_spawn(self._engine.raw_connection)

    async def _keep(self, connection: PoolProxiedConnection) -> None:
        if self._keeps:
            self._idle.append(connection)
        else:
            await greenlet_spawn(connection.close)

    async def close(self) -> None:
        """Give all connections back to the pool."""
        while self._idle:
            await greenlet_spawn(self._idle.pop().close)

"""Reading past the ORM's session, whose bookkeeping costs several times a short statement.

A session is still the way to write, and to read what is then changed. Rows that are read here are instances
that belong to no session.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from asyncpg import Record
from sqlalchemy import Enum, PoolProxiedConnection, Select, bindparam, inspect, select
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.compiler import Compiled, SQLCompiler
from sqlalchemy.util import greenlet_spawn

from little_monster.db.base import Base

Model = TypeVar("Model", bound=Base)
Value = TypeVar("Value")

_DIALECT: Dialect = dialect()  # type: ignore[no-untyped-call]


class _Loader(Generic[Model]):
    """Makes rows of a model of what the driver returns for its columns, in the order of `columns`."""

    def __init__(self, model: type[Model]) -> None:
        mapper: Mapper[Model] = inspect(model)
        self._model = model
        shown = [one for one in mapper.column_attrs if not one.deferred]
        self.columns = [one.columns[0] for one in shown]
        self._names = [one.key for one in shown]
        # The driver's values are those of the models already, but for the labels of enums.
        self._enums = {
            number: column.type.enum_class
            for number, column in enumerate(self.columns)
            if isinstance(column.type, Enum) and column.type.enum_class is not None
        }

    def load(self, values: Sequence[Any]) -> Model:
        """Return the row that has these values."""
        loaded = dict(zip(self._names, values, strict=True))
        for number, labels in self._enums.items():
            if (label := values[number]) is not None:
                loaded[self._names[number]] = labels(label)
        row = self._model()
        # As the ORM loads rows: past the instrumented attributes, which would note every value as a change.
        row.__dict__.update(loaded)
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


class _Statement:
    """A SELECT as asyncpg takes it: of a model, perhaps with more columns behind it."""

    def __init__(self, query: Select[Any], compiled: SQLCompiler) -> None:
        if compiled.literal_execute_params or compiled.post_compile_params:
            raise TypeError("a statement whose text depends on its values is for a session")
        model, *_ = (one["expr"] for one in query.column_descriptions)
        loader = _Loader(model)
        self._width, self._load = len(loader.columns), loader.load
        # Columns that come in another order would be taken for one another.
        names = [column.name for column in loader.columns]
        by_name = [entry.keyname for entry in compiled._result_columns]
        self._order = [by_name.index(name) for name in names]
        self.sql = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or ()
        self._processors: Mapping[str, Any] = compiled._bind_processors

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the text."""
        return [
            process(values[name]) if (process := self._processors.get(name)) else values[name]
            for name in self._names
        ]

    def load(self, record: Record) -> tuple[Any, ...]:
        """Return the model's row, and the values behind it."""
        return self._load([record[number] for number in self._order]), *record[self._width :]


_compiled: dict[Any, Compiled] = {}
_statements: dict[SQLCompiler, _Statement] = {}


def _prepare(query: Select[Any]) -> tuple[_Statement, list[Any]]:
    """Return a query as a statement, compiled once for all queries that differ in their values only, and the
    values."""
    compiled: Any
    compiled, given, *_ = query._compile_w_cache(_DIALECT, compiled_cache=_compiled, column_keys=[])
    statement = _statements.get(compiled)
    if statement is None:
        statement = _statements[compiled] = _Statement(query, compiled)
    values = compiled.construct_params(extracted_parameters=given, escape_names=False)
    return statement, statement.arguments(values)


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

    async def scalars(self, query: Select[Model]) -> list[Model]:
        """Return the rows of a query for one model."""
        return [row[0] for row in await self.execute(query)]

    async def execute(self, query: Select[Any]) -> list[tuple[Any, ...]]:
        """Return what a query for a model, and more columns, finds."""
        statement, values = _prepare(query)
        return [statement.load(record) for record in await self._driver.fetch(statement.sql, *values)]


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

"""The stages as actors of Ray Data: tables of Arrow in, tables of Arrow out, with the declared columns.

An actor keeps one event loop and what its stage works with. What it does can be done twice: Ray Data starts
an actor again that died, and gives it the same rows.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, get_type_hints

import pyarrow as pa

from little_monster.db.errors import DatabaseUnavailable
from little_monster.pipelines.ingest import IngestParts, Stages
from little_monster.pipelines.library.intake import Intake, Run
from little_monster.pipelines.stages import columns

OpenParts = Callable[[], AbstractAsyncContextManager[IngestParts]]
"""Opens, in the process of an actor, what the stages work with; can be pickled."""

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
_T = TypeVar("_T")

_FAILURE = pa.struct([("code", pa.string()), ("reason", pa.string())])
_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    str | None: pa.string(),
    int: pa.int64(),
    list[float] | None: pa.list_(pa.float32()),
    columns.Failure | None: _FAILURE,
}


def schema(row: type) -> pa.Schema:
    """Return the columns of a row of `stages/columns.py` as Arrow has them."""
    return pa.schema([(name, _TYPES[kind]) for name, kind in get_type_hints(row).items()])


def table(rows: Sequence[Any], row: type) -> pa.Table:
    """Return rows as a table; none as a table that still has the columns."""
    return pa.Table.from_pylist([*rows], schema=schema(row))


class _Stage(ABC):
    """An actor of one stage. Extra arguments of its class are those of the subclass."""

    takes: type
    gives: type

    def __init__(self, open_parts: OpenParts) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="stage", daemon=True).start()
        self._open = open_parts()
        self._parts = self._do(self._open.__aenter__())

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Do a batch. Ray Data may ask with no rows, and no columns, to learn the schema."""
        rows = batch.select(schema(self.takes).names).to_pylist() if batch.num_rows else []
        return table(self._do(_patiently(lambda: self._run(rows))) if rows else [], self.gives)

    @abstractmethod
    async def _run(self, rows: list[Any]) -> Sequence[Any]: ...

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _patiently(work: Callable[[], Awaitable[_T]]) -> _T:
    """Return what `work` returns, waiting while the database is away."""
    for pause_s in _PAUSES_S:
        try:
            return await work()
        except DatabaseUnavailable:
            await asyncio.sleep(pause_s)
    return await work()


class Read(_Stage):
    """Files to documents."""

    takes, gives = columns.File, columns.Document

    def __init__(self, open_parts: OpenParts, run: Run) -> None:
        super().__init__(open_parts)
        self._intake = Intake(self._parts.database, self._parts.storage, run)

    async def _run(self, rows: list[columns.File]) -> Sequence[columns.Document]:
        return [await self._intake.take(row) for row in rows]


class Parse(_Stage):
    """Documents to passages, `at_once` of a batch at a time."""

    takes, gives = columns.Document, columns.Passage

    def __init__(self, open_parts: OpenParts, at_once: int) -> None:
        super().__init__(open_parts)
        self._stages = Stages(self._parts, queued=False)
        self._places = asyncio.Semaphore(at_once)

    async def _run(self, rows: list[columns.Document]) -> Sequence[columns.Passage]:
        found = await asyncio.gather(*map(self._parse, rows))
        return [passage for passages in found for passage in passages]

    async def _parse(self, row: columns.Document) -> list[columns.Passage]:
        async with self._places:
            return await self._stages.parse(row)


class Embed(_Stage):
    """Passages to vectors."""

    takes, gives = columns.Passage, columns.Vector

    def __init__(self, open_parts: OpenParts) -> None:
        super().__init__(open_parts)
        self._stages = Stages(self._parts, queued=False)

    async def _run(self, rows: list[columns.Passage]) -> Sequence[columns.Vector]:
        return await self._stages.embed(rows)


class Upsert(_Stage):
    """Vectors to points, and to documents that are complete."""

    takes, gives = columns.Vector, columns.Ended

    def __init__(self, open_parts: OpenParts) -> None:
        super().__init__(open_parts)
        self._stages = Stages(self._parts, queued=False)

    async def _run(self, rows: list[columns.Vector]) -> Sequence[columns.Ended]:
        return await self._stages.upsert(rows)

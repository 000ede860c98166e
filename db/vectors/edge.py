"""The vector index inside this process: Qdrant Edge, one folder a collection, one process a folder."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import qdrant_edge as qdrant

from little_monster.db.errors import DimensionMismatch, IndexUnavailable
from little_monster.db.vectors.index import Hit, Point, StoredPoint
from little_monster.db.vectors.payload import (
    DOCUMENT,
    OWNER,
    behind,
    check_dimension,
    to_hit,
    to_payload,
    to_stored,
)

Result = TypeVar("Result")


class EdgeIndex:
    """A `VectorIndex` in `folder`/`collection`; opened by the first call, closed by `close`.

    Qdrant Edge blocks, so that its calls run in threads; it lets go of the GIL meanwhile. Its log is written
    before an update returns: what was written survives a kill.
    """

    def __init__(self, folder: Path, collection: str, dimension: int) -> None:
        self._path = folder / collection
        self._dimension = dimension
        self._shard: Any = None
        self._opening = asyncio.Lock()
        self._writing = asyncio.Lock()

    async def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`."""
        for point in points:
            check_dimension(point.vector, self._dimension)
        rows = [qdrant.Point(point.id, [*point.vector], to_payload(point)) for point in points]
        if rows:
            await self._write(qdrant.UpdateOperation.upsert_points(rows))

    async def search(
        self, owner: UUID, vector: Sequence[float], *, limit: int, document_ids: Sequence[UUID] = ()
    ) -> list[Hit]:
        """See `VectorIndex.search`."""
        check_dimension(vector, self._dimension)
        shard = await self._open()
        request = qdrant.QueryRequest(
            limit=limit,
            query=qdrant.Query.Nearest([*vector]),
            filter=_of(owner, document_ids),
            with_payload=True,
        )
        found = await _in_thread(lambda: shard.query(request))
        return [to_hit(point.id, point.score, point.payload) for point in found]

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """See `VectorIndex.delete_document`."""
        await self._write(qdrant.UpdateOperation.delete_points_by_filter(_of(owner, [document_id])))

    async def delete_owner(self, owner: UUID) -> None:
        """See `VectorIndex.delete_owner`."""
        await self._write(qdrant.UpdateOperation.delete_points_by_filter(_of(owner, [])))

    async def delete(self, owner: UUID, ids: Sequence[UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            chosen = qdrant.Filter(must=[_of(owner, []), qdrant.HasIdCondition({*ids})])
            await self._write(qdrant.UpdateOperation.delete_points_by_filter(chosen))

    async def scan(self, after: UUID | None, limit: int) -> list[StoredPoint]:
        """See `VectorIndex.scan`."""
        shard = await self._open()
        whose = qdrant.PayloadSelector.Include([OWNER, DOCUMENT])
        request = qdrant.ScrollRequest(offset=behind(after), limit=limit, with_payload=whose)
        records, _ = await _in_thread(lambda: shard.scroll(request))
        return [to_stored(record.id, record.payload) for record in records]

    async def count(self, owner: UUID, document_id: UUID | None = None) -> int:
        """See `VectorIndex.count`."""
        shard = await self._open()
        documents = [] if document_id is None else [document_id]
        request = qdrant.CountRequest(exact=True, filter=_of(owner, documents))
        return await _in_thread(lambda: int(shard.count(request)))

    async def rebuild(self) -> None:
        """Empty the index, of every owner and dimension. PostgreSQL holds what fills it again."""
        async with self._writing:
            await self.close()
            await asyncio.to_thread(shutil.rmtree, self._path, ignore_errors=True)
        await self._open()

    async def optimize(self) -> None:
        """Build the graphs of large collections. Takes a minute for 100,000 points, and writes wait."""
        shard = await self._open()
        async with self._writing:
            await _in_thread(shard.optimize)

    async def check(self) -> None:
        """See `VectorIndex.check`."""
        shard = await self._open()
        await _in_thread(shard.info)

    async def close(self) -> None:
        """Write everything out and let another process open the folder."""
        async with self._opening:
            shard, self._shard = self._shard, None
            if shard is not None:
                await _in_thread(lambda: (shard.flush(), shard.close()))

    async def _open(self) -> Any:
        if self._shard is None:
            async with self._opening:
                if self._shard is None:
                    self._shard = await _in_thread(lambda: _open_shard(self._path, self._dimension))
        return self._shard

    async def _write(self, operation: Any) -> None:
        shard = await self._open()
        async with self._writing:
            await _in_thread(lambda: shard.update(operation))


def _open_shard(path: Path, dimension: int) -> Any:
    vectors = qdrant.EdgeVectorParams(size=dimension, distance=qdrant.Distance.Cosine)
    config = qdrant.EdgeConfig(vectors=vectors)
    if (path / "edge_config.json").exists():
        return qdrant.EdgeShard.load(str(path), config)
    path.mkdir(parents=True, exist_ok=True)
    shard = qdrant.EdgeShard.create(str(path), config)
    for key in (OWNER, DOCUMENT):
        params = qdrant.KeywordIndexParams(is_tenant=key == OWNER)
        shard.update(qdrant.UpdateOperation.create_field_index(key, params))
    return shard


def _of(owner: UUID, document_ids: Sequence[UUID]) -> Any:
    must: list[qdrant.ConditionType] = [qdrant.FieldCondition(OWNER, match=qdrant.MatchValue(str(owner)))]
    if document_ids:
        names = [str(document_id) for document_id in document_ids]
        must.append(qdrant.FieldCondition(DOCUMENT, match=qdrant.MatchAny(names)))
    return qdrant.Filter(must=must)


async def _in_thread(call: Callable[[], Result]) -> Result:
    try:
        return await asyncio.to_thread(call)
    except Exception as error:  # Qdrant Edge raises nothing more precise.
        if "ncompatible config" in str(error):
            raise DimensionMismatch(str(error)) from error
        raise IndexUnavailable(str(error)) from error

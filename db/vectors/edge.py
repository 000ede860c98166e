"""The vector index inside this process: Qdrant Edge, one folder a collection, one process a folder."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import qdrant_edge as qdrant

from little_monster.db.errors import DimensionMismatch, IncompatibleIndex, IndexUnavailable
from little_monster.db.vectors import hybrid
from little_monster.db.vectors.hybrid import Ranking
from little_monster.db.vectors.index import EVERYTHING, Hit, Point, Query, SearchFilter, SparseVector
from little_monster.db.vectors.payload import (
    CREATED,
    DENSE,
    DOCUMENT,
    KEYWORDS,
    OWNER,
    SPARSE,
    check_dimension,
    choices,
    instant,
    storable,
    to_payload,
)
from little_monster.db.vectors.stored import StoredPoint, behind, to_stored

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
        rows = [qdrant.Point(point.id, _vectors(point), to_payload(point)) for point in points]
        if rows:
            await self._write(qdrant.UpdateOperation.upsert_points(rows))

    async def search(
        self, owner: UUID, query: Query, *, limit: int, where: SearchFilter = EVERYTHING
    ) -> list[Hit]:
        """See `VectorIndex.search`."""
        if query.vector is not None:
            check_dimension(query.vector, self._dimension)
        ranker = _Ranker(await self._open(), owner, where)
        return await _in_thread(lambda: _finished(hybrid.search(ranker, query, limit=limit)))

    async def set_payload(self, owner: UUID, document_id: UUID, values: Mapping[str, Any]) -> None:
        """See `VectorIndex.set_payload`."""
        points = _of(owner, SearchFilter((document_id,)))
        await self._write(qdrant.UpdateOperation.set_payload_by_filter(points, storable(values)))

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """See `VectorIndex.delete_document`."""
        points = _of(owner, SearchFilter((document_id,)))
        await self._write(qdrant.UpdateOperation.delete_points_by_filter(points))

    async def delete_owner(self, owner: UUID) -> None:
        """See `VectorIndex.delete_owner`."""
        await self._write(qdrant.UpdateOperation.delete_points_by_filter(_of(owner)))

    async def delete(self, owner: UUID, ids: Sequence[UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            chosen = qdrant.Filter(must=[_of(owner), qdrant.HasIdCondition({*ids})])
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
        where = EVERYTHING if document_id is None else SearchFilter((document_id,))
        request = qdrant.CountRequest(exact=True, filter=_of(owner, where))
        return await _in_thread(lambda: int(shard.count(request)))

    async def rebuild(self) -> None:
        """Empty the index, of every owner and shape. PostgreSQL holds what fills it again."""
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


class _Ranker:
    """See `hybrid.Ranker`. Its calls block and never wait, so that one thread makes a whole search."""

    def __init__(self, shard: Any, owner: UUID, where: SearchFilter) -> None:
        self._shard, self._points, self._rarity = shard, _of(owner, where), _rarity(owner)

    async def nearest(self, query: Query, limit: int) -> tuple[Ranking, Ranking]:
        return self._by_vector(query, limit), self._by_terms(query, limit)

    async def vectors(self, ids: Sequence[UUID]) -> list[Sequence[float]]:
        points = self._shard.retrieve([*ids], False, [DENSE])
        return [point.vector[DENSE] for point in points]

    async def payloads(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        points = self._shard.retrieve([*ids], True, False)
        return {point.id: point.payload for point in points}

    def _by_vector(self, query: Query, limit: int) -> Ranking:
        if query.vector is None:
            return []
        return self._query(qdrant.Query.Nearest([*query.vector], using=DENSE), limit)

    def _by_terms(self, query: Query, limit: int) -> Ranking:
        if not query.sparse.indices:
            return []
        return self._query(qdrant.Query.Nearest(_sparse(query.sparse), using=SPARSE), limit, self._rarity)

    def _query(self, nearest: Any, limit: int, params: Any = None) -> Ranking:
        # Payloads would cost five times the search.
        request = qdrant.QueryRequest(
            limit, query=nearest, filter=self._points, with_payload=False, params=params
        )
        return [(one.id.int, one.score) for one in self._shard.query(request)]


def _vectors(point: Point) -> dict[str, Any]:
    vectors: dict[str, Any] = {DENSE: [*point.vector]}
    if point.sparse.indices:
        vectors[SPARSE] = _sparse(point.sparse)
    return vectors


def _sparse(terms: SparseVector) -> Any:
    return qdrant.SparseVector([*terms.indices], [*terms.values])


def _open_shard(path: Path, dimension: int) -> Any:
    config = qdrant.EdgeConfig(
        vectors={DENSE: qdrant.EdgeVectorParams(size=dimension, distance=qdrant.Distance.Cosine)},
        sparse_vectors={SPARSE: qdrant.EdgeSparseVectorParams(modifier=qdrant.Modifier.Idf)},
        # Segments of one search side by side: it wakes more threads than that saves where tenants are small.
        max_search_threads=1,
    )
    if (path / "edge_config.json").exists():
        shard = qdrant.EdgeShard.load(str(path), config)
    else:
        # What a kill left of a folder that was being made holds nothing yet.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        shard = qdrant.EdgeShard.create(str(path), config)
    known = shard.info().payload_schema
    for key, params in _indexes().items():
        if key not in known:
            shard.update(qdrant.UpdateOperation.create_field_index(key, params))
    return shard


def _indexes() -> dict[str, Any]:
    return {
        **{key: qdrant.KeywordIndexParams(is_tenant=key == OWNER) for key in KEYWORDS},
        CREATED: qdrant.DatetimeIndexParams(),
    }


def _of(owner: UUID, where: SearchFilter = EVERYTHING) -> Any:
    must: list[qdrant.ConditionType] = [qdrant.FieldCondition(OWNER, match=qdrant.MatchValue(str(owner)))]
    for key, values in choices(where).items():
        must.append(qdrant.FieldCondition(key, match=qdrant.MatchAny(values)))
    if where.created_from or where.created_before:
        created = qdrant.RangeDateTime(
            gte=_instant(where.created_from),
            lt=_instant(where.created_before),
        )
        must.append(qdrant.FieldCondition(CREATED, range=created))
    return qdrant.Filter(must=must)


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)


def _rarity(owner: UUID) -> Any:
    """How rare a term is, is counted in the owner's own passages: nobody's score tells of another's words."""
    return qdrant.SearchParams(idf=qdrant.IdfParams(corpus=_of(owner)))


def _finished(search: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that never waits."""
    try:
        search.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("a search of the embedded index does not wait")


async def _in_thread(call: Callable[[], Result]) -> Result:
    try:
        return await asyncio.to_thread(call)
    except Exception as error:  # Qdrant Edge raises nothing more precise.
        if "expected vector size" in str(error):
            raise DimensionMismatch(str(error)) from error
        if "ncompatible config" in str(error):
            raise IncompatibleIndex(str(error)) from error
        raise IndexUnavailable(str(error)) from error

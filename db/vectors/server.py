"""The vector index on a Qdrant server."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

from grpc import RpcError, StatusCode
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from little_monster.db.errors import DimensionMismatch, IncompatibleIndex, IndexUnavailable
from little_monster.db.vectors import hybrid
from little_monster.db.vectors.connection import Server, connect
from little_monster.db.vectors.hybrid import Ranking
from little_monster.db.vectors.index import EVERYTHING, Hit, Point, Query, SearchFilter, SparseVector
from little_monster.db.vectors.layout import (
    MAX_BATCH,
    Layout,
    add_indexes,
    create_collection,
    search_params,
)
from little_monster.db.vectors.payload import (
    CREATED,
    DENSE,
    DOCUMENT,
    OWNER,
    SPARSE,
    check_dimension,
    choices,
    storable,
    to_payload,
)
from little_monster.db.vectors.stored import StoredPoint, behind, to_stored

PLAIN = Layout()

_CONFLICT = 409


class QdrantIndex:
    """A `VectorIndex` in one collection for all owners, or behind the alias of that name.

    Args:
        server: where the server is, or a client, which `close` closes too.
        collection: name of the collection or alias; a missing collection is made by the first call.
        dimension: numbers in a vector.
        layout: how a missing collection is made.
    """

    def __init__(
        self, server: Server | AsyncQdrantClient, *, collection: str, dimension: int, layout: Layout = PLAIN
    ) -> None:
        self._client = connect(server) if isinstance(server, Server) else server
        self._collection = collection
        self._dimension = dimension
        self._layout = layout
        self._known = False
        self._making = asyncio.Lock()

    async def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`."""
        for point in points:
            check_dimension(point.vector, self._dimension)
        rows = [
            models.PointStruct(id=str(point.id), vector=_vectors(point), payload=to_payload(point))
            for point in points
        ]
        async with self._ready() as client:
            for start in range(0, len(rows), MAX_BATCH):
                await client.upsert(self._collection, rows[start : start + MAX_BATCH], wait=True)

    async def search(
        self, owner: UUID, query: Query, *, limit: int, where: SearchFilter = EVERYTHING
    ) -> list[Hit]:
        """See `VectorIndex.search`."""
        if query.vector is not None:
            check_dimension(query.vector, self._dimension)
        async with self._ready() as client:
            ranker = _Ranker(client, self._collection, owner, where, search_params(self._layout))
            return await hybrid.search(ranker, query, limit=limit)

    async def set_payload(self, owner: UUID, document_id: UUID, values: Mapping[str, Any]) -> None:
        """See `VectorIndex.set_payload`."""
        points = models.FilterSelector(filter=_of(owner, SearchFilter((document_id,))))
        async with self._ready() as client:
            await client.set_payload(self._collection, storable(values), points=points, wait=True)

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """See `VectorIndex.delete_document`."""
        await self._delete(_of(owner, SearchFilter((document_id,))))

    async def delete_owner(self, owner: UUID) -> None:
        """See `VectorIndex.delete_owner`."""
        await self._delete(_of(owner))

    async def delete(self, owner: UUID, ids: Sequence[UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            named = models.HasIdCondition(has_id=[str(point_id) for point_id in ids])
            await self._delete(models.Filter(must=[_of(owner), named]))

    async def scan(self, after: UUID | None, limit: int) -> list[StoredPoint]:
        """See `VectorIndex.scan`."""
        first = behind(after)
        async with self._ready() as client:
            records, _ = await client.scroll(
                self._collection,
                offset=None if first is None else str(first),
                limit=limit,
                with_payload=[OWNER, DOCUMENT],
                with_vectors=False,
            )
        return [to_stored(record.id, record.payload) for record in records]

    async def count(self, owner: UUID, document_id: UUID | None = None) -> int:
        """See `VectorIndex.count`."""
        where = EVERYTHING if document_id is None else SearchFilter((document_id,))
        async with self._ready() as client:
            answer = await client.count(self._collection, count_filter=_of(owner, where), exact=True)
        return answer.count

    async def rebuild(self) -> None:
        """Empty the index, of every owner, whatever its dimension. PostgreSQL holds what fills it again.

        An alias lets go of its collection, which stays for the operator to delete.
        """
        async with self._making, _translated():
            if await self._is_alias():
                gone = models.DeleteAlias(alias_name=self._collection)
                await self._client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=gone)])
            else:
                await self._client.delete_collection(self._collection)
            self._known = False
        await self.check()

    async def publish(self, alias: str) -> None:
        """Let `alias` name this collection, in the place of another, in one step."""
        gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        made = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=self._collection, alias_name=alias)
        )
        async with self._ready() as client:
            known = any(one.alias_name == alias for one in (await client.get_aliases()).aliases)
            await client.update_collection_aliases([gone, made] if known else [made])

    async def drop(self) -> None:
        """Remove the collection with its points; a missing one is fine."""
        async with self._making, _translated():
            self._known = False
            if await self._client.collection_exists(self._collection):
                await self._client.delete_collection(self._collection)

    async def check(self) -> None:
        """See `VectorIndex.check`."""
        async with self._ready() as client:
            await client.get_collection(self._collection)

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def _delete(self, points: models.Filter) -> None:
        selector = models.FilterSelector(filter=points)
        async with self._ready() as client:
            await client.delete(self._collection, points_selector=selector, wait=True)

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[AsyncQdrantClient]:
        try:
            async with _translated():
                async with self._making:
                    if not self._known:
                        await self._make()
                        self._known = True
                yield self._client
        except IndexUnavailable:
            # The server may come back without the collection.
            self._known = False
            raise

    async def _make(self) -> None:
        if not await self._client.collection_exists(self._collection) and not await self._is_alias():
            await self._create()
        params = (await self._client.get_collection(self._collection)).config.params
        dense = params.vectors.get(DENSE) if isinstance(params.vectors, dict) else None
        if dense is None or SPARSE not in (params.sparse_vectors or {}):
            raise IncompatibleIndex(f"the collection {self._collection} lacks vectors that a search needs")
        if dense.size != self._dimension:
            raise DimensionMismatch(
                f"the collection {self._collection} has vectors of {dense.size} numbers, "
                f"and the embedding model makes {self._dimension}"
            )
        await add_indexes(self._client, self._collection)

    async def _create(self) -> None:
        try:
            await create_collection(self._client, self._collection, self._dimension, self._layout)
        except UnexpectedResponse as error:
            if error.status_code != _CONFLICT:  # Another process made it meanwhile.
                raise
        except RpcError as error:
            if error.code() != StatusCode.ALREADY_EXISTS:
                raise

    async def _is_alias(self) -> bool:
        aliases = (await self._client.get_aliases()).aliases
        return any(alias.alias_name == self._collection for alias in aliases)


class _Ranker:
    """See `hybrid.Ranker`."""

    def __init__(
        self,
        client: AsyncQdrantClient,
        collection: str,
        owner: UUID,
        where: SearchFilter,
        params: models.SearchParams | None,
    ) -> None:
        self._client, self._collection, self._params = client, collection, params
        self._points, self._rarity = _of(owner, where), _rarity(owner)

    async def nearest(self, query: Query, limit: int) -> tuple[Ranking, Ranking]:
        by_vector, by_terms = [], []
        if query.vector is not None:
            by_vector = [self._request([*query.vector], DENSE, limit, self._params)]
        if query.sparse.indices:
            by_terms = [self._request(_sparse(query.sparse), SPARSE, limit, self._rarity)]
        requests = [*by_vector, *by_terms]
        answers = await self._client.query_batch_points(self._collection, requests) if requests else []
        found = [[(UUID(str(one.id)).int, one.score) for one in answer.points] for answer in answers]
        return (found[0] if by_vector else []), (found[-1] if by_terms else [])

    async def vectors(self, ids: Sequence[UUID]) -> list[Sequence[float]]:
        names = [str(point_id) for point_id in ids]
        points = await self._client.retrieve(
            self._collection, names, with_payload=False, with_vectors=[DENSE]
        )
        named = [point.vector for point in points if isinstance(point.vector, dict)]
        return [cast("list[float]", vectors[DENSE]) for vectors in named]

    async def payloads(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        names = [str(point_id) for point_id in ids]
        points = await self._client.retrieve(self._collection, names, with_payload=True)
        return {UUID(str(point.id)): point.payload or {} for point in points}

    def _request(
        self,
        query: list[float] | models.SparseVector,
        using: str,
        limit: int,
        params: models.SearchParams | None,
    ) -> models.QueryRequest:
        return models.QueryRequest(
            query=query, using=using, filter=self._points, limit=limit, with_payload=False, params=params
        )


def _vectors(point: Point) -> dict[str, Any]:
    vectors: dict[str, Any] = {DENSE: [*point.vector]}
    if point.sparse.indices:
        vectors[SPARSE] = _sparse(point.sparse)
    return vectors


def _sparse(terms: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=[*terms.indices], values=[*terms.values])


def _of(owner: UUID, where: SearchFilter = EVERYTHING) -> models.Filter:
    must = [models.FieldCondition(key=OWNER, match=models.MatchValue(value=str(owner)))]
    for key, values in choices(where).items():
        must.append(models.FieldCondition(key=key, match=models.MatchAny(any=values)))
    if where.created_from or where.created_before:
        created = models.DatetimeRange(gte=where.created_from, lt=where.created_before)
        must.append(models.FieldCondition(key=CREATED, range=created))
    return models.Filter(must=[*must])


def _rarity(owner: UUID) -> models.SearchParams:
    """How rare a term is, is counted in the owner's own passages: nobody's score tells of another's words."""
    return models.SearchParams(idf=models.IdfCorpusParams(corpus=_of(owner)))


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (QdrantException, ResponseHandlingException, UnexpectedResponse, RpcError) as error:
        raise IndexUnavailable(f"Qdrant: {error}") from error

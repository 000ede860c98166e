"""The vector index on a Qdrant server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

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

_BATCH = 256
_CONFLICT = 409


class QdrantIndex:
    """A `VectorIndex` in one collection for all owners, or behind the alias of that name.

    Args:
        server: URL of the server, or a client, which `close` closes too.
        api_key: for the URL.
        collection: name of the collection or alias; a missing collection is made by the first call.
        dimension: numbers in a vector.
    """

    def __init__(
        self, server: str | AsyncQdrantClient, *, api_key: str | None = None, collection: str, dimension: int
    ) -> None:
        if isinstance(server, str):
            # The check would ask the server, in a blocking way, before anything else.
            server = AsyncQdrantClient(url=server, api_key=api_key, check_compatibility=False)
        self._client = server
        self._collection = collection
        self._dimension = dimension
        self._known = False
        self._making = asyncio.Lock()

    async def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`."""
        for point in points:
            check_dimension(point.vector, self._dimension)
        rows = [
            models.PointStruct(id=str(point.id), vector=[*point.vector], payload=to_payload(point))
            for point in points
        ]
        async with self._ready() as client:
            for start in range(0, len(rows), _BATCH):
                await client.upsert(self._collection, rows[start : start + _BATCH], wait=True)

    async def search(
        self, owner: UUID, vector: Sequence[float], *, limit: int, document_ids: Sequence[UUID] = ()
    ) -> list[Hit]:
        """See `VectorIndex.search`."""
        check_dimension(vector, self._dimension)
        async with self._ready() as client:
            answer = await client.query_points(
                self._collection,
                query=[*vector],
                query_filter=_of(owner, document_ids),
                limit=limit,
                with_payload=True,
            )
        return [to_hit(point.id, point.score, point.payload) for point in answer.points]

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """See `VectorIndex.delete_document`."""
        await self._delete(_of(owner, [document_id]))

    async def delete_owner(self, owner: UUID) -> None:
        """See `VectorIndex.delete_owner`."""
        await self._delete(_of(owner, []))

    async def delete(self, owner: UUID, ids: Sequence[UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            named = models.HasIdCondition(has_id=[str(point_id) for point_id in ids])
            await self._delete(models.Filter(must=[_of(owner, []), named]))

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
        documents = [] if document_id is None else [document_id]
        async with self._ready() as client:
            answer = await client.count(self._collection, count_filter=_of(owner, documents), exact=True)
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
        async with _translated():
            async with self._making:
                if not self._known:
                    await self._make()
                    self._known = True
            yield self._client

    async def _make(self) -> None:
        if not await self._client.collection_exists(self._collection) and not await self._is_alias():
            await self._create()
        found = (await self._client.get_collection(self._collection)).config.params.vectors
        size = found.size if isinstance(found, models.VectorParams) else None
        if size != self._dimension:
            raise DimensionMismatch(
                f"the collection {self._collection} has vectors of {size or 'several'} numbers, "
                f"and the embedding model makes {self._dimension}"
            )

    async def _create(self) -> None:
        try:
            await self._client.create_collection(
                self._collection,
                vectors_config=models.VectorParams(size=self._dimension, distance=models.Distance.COSINE),
                # Every search is one tenant's: a graph for each of them, and none over all.
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
            )
        except UnexpectedResponse as error:
            if error.status_code != _CONFLICT:  # Another process made it meanwhile.
                raise
        for key in (OWNER, DOCUMENT):
            schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=key == OWNER)
            await self._client.create_payload_index(self._collection, key, schema, wait=True)

    async def _is_alias(self) -> bool:
        aliases = (await self._client.get_aliases()).aliases
        return any(alias.alias_name == self._collection for alias in aliases)


def _of(owner: UUID, document_ids: Sequence[UUID]) -> models.Filter:
    must = [models.FieldCondition(key=OWNER, match=models.MatchValue(value=str(owner)))]
    if document_ids:
        names = [str(document_id) for document_id in document_ids]
        must.append(models.FieldCondition(key=DOCUMENT, match=models.MatchAny(any=names)))
    return models.Filter(must=[*must])


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (ResponseHandlingException, UnexpectedResponse) as error:
        raise IndexUnavailable(f"Qdrant: {error}") from error

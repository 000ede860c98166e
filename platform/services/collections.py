"""Which collection of the vector index is searched and written, and by which model: the one row that is live.

Who asks it once and keeps the answer has model and collection of one kind, whatever changes meanwhile: an old
collection stays where it is, complete and kept up to date, until an operator drops it.
"""

import asyncio
from dataclasses import dataclass

from little_monster.db.models.embedding_collections import CollectionState, EmbeddingCollection
from little_monster.db.repositories import embedding_collections
from little_monster.db.repositories.embedding_collections import NewCollection
from little_monster.db.session import Database
from little_monster.db.vectors.collections import Collections
from little_monster.db.vectors.index import VectorIndex
from little_monster.platform.engines.pinned import PinnedEmbedder
from little_monster.platform.engines.protocols import Embedder, EmbedderInfo

MAX_AGE_S = 1.0
"""Seconds that a process believes in what it has read; less than it takes to drop a collection."""


@dataclass(frozen=True, slots=True)
class OpenCollection:
    """A collection, and the embedder of its vectors."""

    row: EmbeddingCollection
    index: VectorIndex
    embedder: PinnedEmbedder


class Shelf:
    """All collections, as one process sees them.

    Args:
        database: where their rows are.
        collections: opens them.
        embedder: makes their vectors, each with its model.
        first: name of the first one, made with the configured model where there is none yet.
    """

    def __init__(
        self, database: Database, collections: Collections, embedder: Embedder, *, first: str
    ) -> None:
        self.database, self.collections, self.embedder, self.first = database, collections, embedder, first
        self._live: OpenCollection | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def live(self, *, fresh: bool = False) -> OpenCollection:
        """Return the live one; `fresh` where a moment ago is too old."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._live is None or fresh or now - self._read_at > MAX_AGE_S:
                self._live, self._read_at = self.open(await self._read()), now
            return self._live

    async def all(self) -> list[OpenCollection]:
        """Return all, the live one first."""
        await self.live()
        async with self.database.session(None) as session:
            rows = await embedding_collections.list(session)
        return [self.open(row) for row in rows]

    def open(self, row: EmbeddingCollection) -> OpenCollection:
        """Open one."""
        index = self.collections.open(row.name, row.dimension)
        return OpenCollection(row, index, PinnedEmbedder(self.embedder, row.source))

    async def _read(self) -> EmbeddingCollection:
        while True:
            async with self.database.session(None) as session:
                row = await embedding_collections.get(session, CollectionState.LIVE)
            if row is not None:
                return row
            new = new_collection(self.first, await self.embedder.describe())
            async with self.database.session(None) as session:
                await embedding_collections.add(session, new, CollectionState.LIVE)


def new_collection(name: str, info: EmbedderInfo) -> NewCollection:
    """Return a collection for the vectors of a model."""
    return NewCollection(name, info.model, info.source, info.dimension, info.max_tokens)

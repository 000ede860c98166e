"""The collections of a vector index: each of vectors of one embedding model, side by side while one takes the
place of another."""

import asyncio
import shutil
from pathlib import Path
from typing import Protocol

from qdrant_client import AsyncQdrantClient

from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import VectorIndex
from little_monster.db.vectors.server import QdrantIndex, drop_collection, set_alias


class Collections(Protocol):
    """Opens collections by name."""

    def open(self, name: str, dimension: int) -> VectorIndex:
        """Return a collection, which its first call makes when it is missing. It is closed with the others,
        by `close`."""
        ...

    async def publish(self, name: str, *, alias: str) -> None:
        """Let an alias name this collection from now on, for who reads the server by himself."""
        ...

    async def drop(self, name: str) -> None:
        """Remove a collection with all that it holds; a missing one is fine."""
        ...

    async def close(self) -> None:
        """Let go of files or connections."""
        ...


class EdgeCollections:
    """Collections of Qdrant Edge, a folder each in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, EdgeIndex] = {}

    def open(self, name: str, dimension: int) -> VectorIndex:
        """See `Collections.open`."""
        if name not in self._open:
            self._open[name] = EdgeIndex(self._folder, collection=name, dimension=dimension)
        return self._open[name]

    async def publish(self, name: str, *, alias: str) -> None:
        """Nothing: nobody else reads the folder."""

    async def drop(self, name: str) -> None:
        """See `Collections.drop`."""
        index = self._open.pop(name, None)
        if index is not None:
            await index.close()
        await asyncio.to_thread(shutil.rmtree, self._folder / name, ignore_errors=True)

    async def close(self) -> None:
        """Close all of them."""
        while self._open:
            _, index = self._open.popitem()
            await index.close()


class QdrantCollections:
    """Collections of a Qdrant server, behind one client."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._open: dict[str, QdrantIndex] = {}

    def open(self, name: str, dimension: int) -> VectorIndex:
        """See `Collections.open`."""
        if name not in self._open:
            self._open[name] = QdrantIndex(self._client, collection=name, dimension=dimension)
        return self._open[name]

    async def publish(self, name: str, *, alias: str) -> None:
        """See `Collections.publish`."""
        await set_alias(self._client, name, alias)

    async def drop(self, name: str) -> None:
        """See `Collections.drop`."""
        self._open.pop(name, None)
        await drop_collection(self._client, name)

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

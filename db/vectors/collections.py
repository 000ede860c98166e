"""The collections of a vector index: each of vectors of one embedding model, side by side while one takes the
place of another."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import VectorIndex
from little_monster.db.vectors.server import QdrantIndex


class Collections(Protocol):
    """Opens collections by name."""

    def open(self, name: str, dimension: int) -> VectorIndex:
        """Return a collection, which its first call makes when it is missing. It is closed with the others,
        by `close`."""
        ...

    async def publish(self, name: str, dimension: int, *, alias: str) -> None:
        """Let an alias name this collection from now on, for who reads the server by himself."""
        ...

    async def drop(self, name: str, dimension: int) -> None:
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

    def open(self, name: str, dimension: int) -> EdgeIndex:
        """See `Collections.open`."""
        if name not in self._open:
            self._open[name] = EdgeIndex(self._folder, collection=name, dimension=dimension)
        return self._open[name]

    async def publish(self, name: str, dimension: int, *, alias: str) -> None:
        """Nothing: nobody else reads the folder."""

    async def drop(self, name: str, dimension: int) -> None:  # noqa: ARG002  A folder is one of any.
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
    """Collections of a Qdrant server; `make` returns the one of a name and dimension."""

    def __init__(self, make: Callable[[str, int], QdrantIndex]) -> None:
        self._make = make
        self._open: dict[str, QdrantIndex] = {}

    def open(self, name: str, dimension: int) -> QdrantIndex:
        """See `Collections.open`."""
        if name not in self._open:
            self._open[name] = self._make(name, dimension)
        return self._open[name]

    async def publish(self, name: str, dimension: int, *, alias: str) -> None:
        """See `Collections.publish`."""
        await self.open(name, dimension).publish(alias)

    async def drop(self, name: str, dimension: int) -> None:
        """See `Collections.drop`."""
        await self.open(name, dimension).drop()

    async def close(self) -> None:
        """Close all clients."""
        while self._open:
            _, index = self._open.popitem()
            await index.close()

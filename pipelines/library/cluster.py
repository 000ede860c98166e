"""What the pipeline works with on a cluster that serves: the graph's models and index, by their handles."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from little_monster.db.models.embedding_collections import EmbeddingCollection
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.library.intake import Run
from little_monster.pipelines.library.plan import Plan, take
from little_monster.pipelines.stages.columns import Ended
from little_monster.pipelines.tasks import RayReader, ReaderOptions
from little_monster.platform.engines.pinned import PinnedEmbedder
from little_monster.platform.engines.protocols import Embedder, EmbedderInfo
from little_monster.platform.engines.remote import RemoteCollections, RemoteEmbedder
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.resources import open_database, storage_url
from little_monster.platform.services.collections import Shelf
from little_monster.platform.services.library import Order
from little_monster.platform.settings import load_settings
from little_monster.platform.storage import open_storage

GRAPH = "little-monster"
"""The application that serves."""

_FAILURES: tuple[type[BaseException], ...] = (RayError, RayServeException)


def execute(order: Order, run: Run) -> Iterator[Ended]:
    """Ingest the files of an order on the cluster of this program."""
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    # One collection and its model from the first file to the last, whatever takes their place meanwhile.
    row = asyncio.run(_live())
    graph = GraphParts(row.name, row.dimension, row.source)
    yield from take(Plan(order, run, graph, replace(graph, own_model=True)))


async def _live() -> EmbeddingCollection:
    settings = load_settings()
    database = open_database(settings)
    try:
        shelf = Shelf(database, _collections(), _embedder(), first=settings.qdrant.collection)
        return (await shelf.live(fresh=True)).row
    finally:
        await database.close()


@dataclass(frozen=True, slots=True)
class GraphParts:
    """Opens the graph's models and index, which let questions go before this; with `own_model` a copy of the
    model in this process, on the GPU that it was given."""

    collection: str
    dimension: int
    source: str
    own_model: bool = False

    def __call__(self) -> AbstractAsyncContextManager[IngestParts]:
        """Return them, open while they are used."""
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[IngestParts]:
        settings = load_settings()
        database = open_database(settings)
        embedder: Embedder = PinnedEmbedder(_embedder(), self.source)
        if self.own_model:
            info = await embedder.describe()
            embedder = await asyncio.to_thread(OwnEmbedder, info, gpu=bool(ray.get_gpu_ids()))
        try:
            yield IngestParts(
                database,
                open_storage(storage_url(settings)),
                embedder,
                _collections().open(self.collection, self.dimension),
                RayReader(ReaderOptions()),
                settings.upload.max_pages,
            )
        finally:
            await database.close()


class OwnEmbedder:
    """An `Embedder` of one model in this process."""

    def __init__(self, info: EmbedderInfo, *, gpu: bool) -> None:
        from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine

        self._engine = SentenceTransformerEngine(info.source, device="cuda" if gpu else "cpu")
        if self._engine.info != info:
            raise ConfigurationError(f"the graph embeds with {info}, and not with {self._engine.info}")

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is."""
        self._must_be(source)
        return self._engine.info

    async def load(self, source: str) -> None:
        """Return, as it is loaded."""
        self._must_be(source)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        source: str = "",
        urgent: bool = False,  # noqa: ARG002 - nobody else asks this one
    ) -> list[list[float]]:
        """Return one vector a text."""
        self._must_be(source)
        vectors: list[list[float]] = (await asyncio.to_thread(self._engine.encode, [*texts])).tolist()
        return vectors

    def _must_be(self, source: str) -> None:
        if source not in ("", self._engine.info.source):
            raise ConfigurationError(f"embedding model {source}: only {self._engine.info.source} is here")


def _embedder() -> RemoteEmbedder:
    return RemoteEmbedder(_handle("embedding"), failures=_FAILURES)


def _collections() -> RemoteCollections:
    return RemoteCollections(_handle("retrieval"), failures=_FAILURES)


def _handle(deployment: str) -> Any:
    return serve.get_deployment_handle(deployment, app_name=GRAPH, _check_exists=True)

"""The retrieval deployment: a query to passages of its owner, and the only process that opens an embedded
index."""

from collections.abc import Sequence
from typing import Any, get_args
from uuid import UUID

from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from little_monster.db.vectors.collections import Collections, EdgeCollections, QdrantCollections
from little_monster.db.vectors.connection import Server
from little_monster.db.vectors.index import IndexCall, VectorIndex
from little_monster.db.vectors.layout import Layout
from little_monster.db.vectors.server import QdrantIndex
from little_monster.deployments import handles
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.platform.engines.cross_encoder import CrossEncoderReranker
from little_monster.platform.engines.protocols import Passage, SearchOptions
from little_monster.platform.resources import open_database
from little_monster.platform.services.collections import Shelf
from little_monster.platform.services.retrieval import search_passages
from little_monster.platform.settings import Settings, load_settings

NAME = "retrieval"


class Retrieval:
    """`find` is what `RemoteRetriever` calls, the rest is for `RemoteVectorIndex` and `RemoteCollections`."""

    async def __init__(self, embedding: DeploymentHandle) -> None:  # type: ignore[misc]  # Serve awaits it.
        settings = load_settings()
        setup_replica_logs(settings.telemetry)
        self._database = open_database(settings)
        reranker = settings.search.reranker
        self._reranker = CrossEncoderReranker(reranker) if reranker else None
        self._shelf = Shelf(
            self._database,
            open_collections(settings),
            handles.embedder(embedding),
            first=settings.qdrant.collection,
        )
        await self.ready()

    async def ready(self) -> None:
        """Answer when the index answers."""
        await (await self._shelf.live()).index.check()

    async def find(
        self, owner: UUID, query: str, limit: int, document_ids: Sequence[UUID], options: SearchOptions
    ) -> list[Passage]:
        """Return at most `limit` passages of `owner`, best first: collection and model are of one kind,
        whatever takes their place meanwhile."""
        live = await self._shelf.live()
        return await search_passages(
            live.embedder,
            live.index,
            self._database,
            owner,
            query,
            limit=limit,
            document_ids=document_ids,
            options=options,
            reranker=self._reranker,
        )

    async def on_index(self, method: IndexCall, args: Sequence[Any]) -> Any:
        """Call a method of the live collection, as `VectorIndex` has it."""
        return await _call((await self._shelf.live()).index, method, args)

    async def on_collection(self, name: str, dimension: int, method: IndexCall, args: Sequence[Any]) -> Any:
        """Call a method of a collection by its name."""
        return await _call(self._shelf.collections.open(name, dimension), method, args)

    async def drop_collection(self, name: str, dimension: int) -> None:
        """Remove a collection with all that it holds."""
        await self._shelf.collections.drop(name, dimension)


async def _call(index: VectorIndex, method: IndexCall, args: Sequence[Any]) -> Any:
    if method not in get_args(IndexCall):
        raise ValueError(f"no call of an index: {method}")
    if method == "search":
        owner, query, limit, where = args
        return await index.search(owner, query, limit=limit, where=where)
    return await getattr(index, method)(*args)


def open_collections(settings: Settings) -> Collections:
    """Open the Qdrant server that the settings name, else Qdrant Edge in the data folder."""
    qdrant = settings.qdrant
    if qdrant.url:
        server = Server(
            qdrant.url,
            api_key=qdrant.api_key.get_secret_value() if qdrant.api_key else None,
            grpc_port=qdrant.grpc_port,
            ca_certificate=qdrant.ca_certificate,
            timeout_s=qdrant.timeout_s,
        )
        layout = Layout(qdrant.on_disk, qdrant.quantization)
        return QdrantCollections(
            lambda name, dimension: QdrantIndex(server, collection=name, dimension=dimension, layout=layout)
        )
    return EdgeCollections(settings.data_dir / "qdrant")


def build_retrieval(embedding: Application) -> Application:
    """Bind the deployment to the embedding it asks."""
    return serve.deployment(name=NAME)(Retrieval).bind(embedding)

"""The retrieval deployment: a query to passages of its owner, and the only process that opens an embedded
index."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from little_monster.db.vectors.connection import Server
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import Hit, Point, Query, SearchFilter, VectorIndex
from little_monster.db.vectors.layout import Layout
from little_monster.db.vectors.server import QdrantIndex
from little_monster.deployments import handles
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.platform.engines.cross_encoder import CrossEncoderReranker
from little_monster.platform.engines.protocols import Passage, SearchOptions
from little_monster.platform.resources import open_database
from little_monster.platform.services.retrieval import search_passages
from little_monster.platform.settings import Settings, load_settings

NAME = "retrieval"


class Retrieval:
    """`find` is what `RemoteRetriever` calls, the rest what `RemoteVectorIndex` calls."""

    async def __init__(self, embedding: DeploymentHandle) -> None:  # type: ignore[misc]  # Serve awaits it.
        settings = load_settings()
        setup_replica_logs(settings.telemetry)
        self._embedder = handles.embedder(embedding)
        self._database = open_database(settings)
        reranker = settings.search.reranker
        self._reranker = CrossEncoderReranker(reranker) if reranker else None
        self._index = open_index(settings, dimension=(await self._embedder.describe()).dimension)
        await self._index.check()

    async def ready(self) -> None:
        """Answer when the index answers."""
        await self._index.check()

    async def find(
        self, owner: UUID, query: str, limit: int, document_ids: Sequence[UUID], options: SearchOptions
    ) -> list[Passage]:
        """Return at most `limit` passages of `owner`, best first."""
        return await search_passages(
            self._embedder,
            self._index,
            self._database,
            owner,
            query,
            limit=limit,
            document_ids=document_ids,
            options=options,
            reranker=self._reranker,
        )

    async def upsert(self, points: list[Point]) -> None:
        """Write points."""
        await self._index.upsert(points)

    async def search(self, owner: UUID, query: Query, limit: int, where: SearchFilter) -> list[Hit]:
        """Return at most `limit` points of `owner`, best first."""
        return await self._index.search(owner, query, limit=limit, where=where)

    async def set_payload(self, owner: UUID, document_id: UUID, values: dict[str, Any]) -> None:
        """Give the payload of a document's points other values."""
        await self._index.set_payload(owner, document_id, values)

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """Remove every point of a document."""
        await self._index.delete_document(owner, document_id)

    async def delete_owner(self, owner: UUID) -> None:
        """Remove every point of an owner."""
        await self._index.delete_owner(owner)

    async def count(self, owner: UUID, document_id: UUID | None) -> int:
        """Count the points of an owner, or of one document."""
        return await self._index.count(owner, document_id)


def open_index(settings: Settings, *, dimension: int) -> VectorIndex:
    """Open the Qdrant server that the settings name, else Qdrant Edge in the data folder."""
    qdrant = settings.qdrant
    if qdrant.url:
        return QdrantIndex(
            Server(
                qdrant.url,
                api_key=qdrant.api_key.get_secret_value() if qdrant.api_key else None,
                grpc_port=qdrant.grpc_port,
                ca_certificate=qdrant.ca_certificate,
                timeout_s=qdrant.timeout_s,
            ),
            collection=qdrant.collection,
            dimension=dimension,
            layout=Layout(qdrant.on_disk, qdrant.quantization),
        )
    return EdgeIndex(settings.data_dir / "qdrant", collection=qdrant.collection, dimension=dimension)


def build_retrieval(embedding: Application) -> Application:
    """Bind the deployment to the embedding it asks."""
    return serve.deployment(name=NAME)(Retrieval).bind(embedding)

"""The embedding deployment: texts to vectors, calls joined into batches."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
from ray import serve
from ray.serve.deployment import Application

from little_monster.deployments.options import EmbeddingOptions
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.settings import load_settings

NAME = "embedding"


class Embedding:
    """One loaded model; `describe` and `embed` are what `RemoteEmbedder` calls."""

    def __init__(self, options: EmbeddingOptions) -> None:
        setup_replica_logs(load_settings().telemetry)
        from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine

        self._engine = SentenceTransformerEngine(
            options.source,
            device=options.device,
            batch_size=options.batch_size,
            trust_remote_code=options.trust_remote_code,
        )
        # One thread: the model uses its cores itself, and the event loop stays free for health checks.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=NAME)
        self._embed_calls.set_max_batch_size(options.max_batch_calls)
        self._embed_calls.set_batch_wait_timeout_s(options.batch_wait_ms / 1000)

    async def ready(self) -> None:
        """Answer when the model is loaded."""

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is."""
        return self._engine.info

    async def load(self, source: str) -> None:
        """Have a model ready before its first texts come."""

    async def embed(self, texts: list[str], source: str = "", urgent: bool = False) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension)."""
        vectors: numpy.ndarray = await self._embed_calls(texts)
        return vectors

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)  # type: ignore[untyped-decorator]
    async def _embed_calls(self, calls: list[list[str]]) -> list[numpy.ndarray]:
        texts = [text for call in calls for text in call]
        loop = asyncio.get_running_loop()
        vectors = await loop.run_in_executor(self._thread, self._engine.encode, texts)
        ends = numpy.cumsum([len(call) for call in calls])
        return list(numpy.split(vectors, ends[:-1]))


class EndpointEmbedding:
    """Vectors of an OpenAI-compatible endpoint, behind the same two methods."""

    def __init__(self, options: EmbeddingOptions) -> None:
        import os

        from little_monster.platform.engines.openai import OpenAIEmbedder

        key = os.environ.get(options.api_key_env) if options.api_key_env else None
        self._engine = OpenAIEmbedder(
            base_url=str(options.base_url),
            api_key=key,
            info=EmbedderInfo(
                model=options.source,
                source=str(options.tokenizer),
                dimension=int(options.dimension or 0),
                max_tokens=options.max_tokens,
            ),
        )

    async def ready(self) -> None:
        """Answer when the replica is up; the endpoint is asked with the first text."""

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is."""
        return await self._engine.describe(source)

    async def load(self, source: str) -> None:
        """Have a model ready before its first texts come."""
        await self._engine.load(source)

    async def embed(self, texts: list[str], source: str = "", urgent: bool = False) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension)."""
        vectors = await self._engine.embed(texts, source=source, urgent=urgent)
        array: numpy.ndarray = numpy.asarray(vectors, dtype=numpy.float32)
        return array


def build_embedding(options: EmbeddingOptions) -> Application:
    """Bind the deployment for the engine that the options name."""
    cls: type[Any] = Embedding if options.engine == "sentence_transformers" else EndpointEmbedding
    return serve.deployment(name=NAME)(cls).bind(options)

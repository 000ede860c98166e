"""The embedding deployment: texts to vectors by one or a few models, queries before everything else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy
from ray import serve
from ray.serve.deployment import Application

from little_monster.deployments.options import EmbeddingOptions
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.platform.engines.lanes import Lanes
from little_monster.platform.engines.local_embedder import LocalEmbedder, exported_models, open_local
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.engines.residents import Residents
from little_monster.platform.settings import Settings, load_settings

NAME = "embedding"


class Embedding:
    """The configured model, loaded from the start on, and others by their source while they are asked for;
    `describe`, `load` and `embed` are what `RemoteEmbedder` calls.
    """

    async def __init__(self, options: EmbeddingOptions) -> None:  # type: ignore[misc]  # Serve awaits it.
        settings = load_settings()
        setup_replica_logs(settings.telemetry)
        self._configured = options.source
        self._options = options
        load = model_loader(options, settings)
        self._models: Residents[LocalEmbedder] = Residents(load, most=options.max_models)
        self._lanes = Lanes(
            batch_size=options.batch_size,
            slice_s=options.slice_ms / 1000,
            urgent_threads=options.urgent_threads,
            bulk_threads=options.bulk_threads,
        )
        await self.load("")

    async def ready(self) -> None:
        """Answer when the model is loaded."""

    async def configuration(self) -> EmbeddingOptions:
        """Say how models are loaded, for who loads one elsewhere that makes the same vectors."""
        return self._options

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is."""
        return (await self._models.get(source or self._configured)).info

    async def load(self, source: str) -> None:
        """Have a model ready before its first texts come."""
        await self._models.get(source or self._configured)

    async def embed(self, texts: list[str], source: str = "", urgent: bool = False) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension)."""
        engine = await self._models.get(source or self._configured)
        return await self._lanes.encode(engine if urgent else engine.background, texts, urgent=urgent)


class EndpointEmbedding:
    """Vectors of an OpenAI-compatible endpoint, behind the same methods."""

    def __init__(self, options: EmbeddingOptions) -> None:
        import os

        from little_monster.platform.engines.openai import OpenAIEmbedder

        key = os.environ.get(options.api_key_env) if options.api_key_env else None
        self._options = options
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

    async def configuration(self) -> EmbeddingOptions:
        """Say how the endpoint is reached."""
        return self._options

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


def model_loader(options: EmbeddingOptions, settings: Settings) -> Callable[[str], LocalEmbedder]:
    """Return what loads the model of a source as the options say, in whichever process it is sent to."""
    return partial(
        open_local,
        backend=options.backend,
        cache=exported_models(settings),
        device=options.device,
        batch_size=options.batch_size,
        background=options.bulk_threads,
        trust_remote_code=options.trust_remote_code,
    )


def build_embedding(options: EmbeddingOptions) -> Application:
    """Bind the deployment for the engine that the options name."""
    cls: type[Any] = Embedding if options.engine == "sentence_transformers" else EndpointEmbedding
    return serve.deployment(name=NAME)(cls).bind(options)

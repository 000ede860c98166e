"""The jobs deployment: workers of the queue, as many as what waits there needs.

An application of its own, as no request passes through it: `little_monster.deployments.jobs:build`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import structlog
from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from little_monster.db import queue
from little_monster.db.vectors.collections import Collections
from little_monster.deployments import embedding, handles, moderation, retrieval
from little_monster.deployments.autoscaling import DEPTH
from little_monster.deployments.options import JobsOptions, parse_jobs_options
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.pipelines.fill import Embedded, EmbedderFill, Fill, FillOptions, Range, RayFill
from little_monster.pipelines.gate import Evaluation
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.tasks import RayReader, ReaderOptions
from little_monster.pipelines.worker import WorkerParts, new_consumer
from little_monster.platform.cache import open_redis
from little_monster.platform.resources import direct_url, open_database, redis_url, storage_url
from little_monster.platform.services.collections import Shelf
from little_monster.platform.services.evaluation.dataset import read_dataset
from little_monster.platform.services.evaluation.evaluate import evaluate
from little_monster.platform.settings import Settings, load_settings
from little_monster.platform.storage import open_storage

NAME = "jobs"
GRAPH = "little-monster"
"""The application whose deployments do what a job needs of models and index."""

_GRAPH_POLL_S = 2.0
_NO_GRAPH_YET: tuple[type[BaseException], ...] = (KeyError, *handles.FAILURES)
_log = structlog.get_logger(__name__)


class Jobs:
    """One worker of the queue; it works from its start on, and nobody calls it."""

    async def __init__(self, options: JobsOptions) -> None:  # type: ignore[misc]  # Serve awaits it.
        settings = load_settings()
        setup_replica_logs(settings.telemetry)
        self._database = open_database(settings)
        self._stop = asyncio.Event()
        self._work = asyncio.create_task(self._run(settings, options))

    async def _run(self, settings: Settings, options: JobsOptions) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._database.close)
            parts = await self._parts(settings, options, stack)
            consumer = new_consumer(
                direct_url(settings), parts, concurrency=options.concurrency, grace_s=options.grace_s
            )
            _log.info("worker_ready", concurrency=options.concurrency)
            await consumer.run(self._stop)

    async def _parts(
        self, settings: Settings, options: JobsOptions, stack: contextlib.AsyncExitStack
    ) -> WorkerParts:
        models = await _handle(embedding.NAME)
        embedder = handles.embedder(models)
        collections = await _collections(settings)
        stack.push_async_callback(collections.close)
        shelf = Shelf(self._database, collections, embedder, first=settings.qdrant.collection)
        redis = open_redis(redis_url(settings))
        stack.push_async_callback(redis.aclose)
        ingest = IngestParts(
            self._database,
            open_storage(storage_url(settings)),
            embedder,
            handles.vector_index(await _handle(retrieval.NAME)),
            RayReader(ReaderOptions(cpus=options.reader_cpus)),
            settings.upload.max_pages,
        )
        moderator = handles.moderator(await _handle(moderation.NAME))
        fill = _fill(models, options, settings, EmbedderFill(self._database, embedder))
        gate = Evaluation(read_dataset, evaluate)
        return WorkerParts(settings, ingest, moderator, redis, shelf, fill, gate)

    async def check_health(self) -> None:
        """Raise what ended the work; Serve then starts another replica."""
        if self._work.done():
            await self._work
            raise RuntimeError("the worker ended")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Report how many jobs wait or are being worked on, by all workers together."""
        async with self._database.session(None) as session:
            return {DEPTH: await queue.count(session)}

    async def __del__(self) -> None:
        """End what runs, or give it back. Serve awaits this before it ends the replica."""
        self._stop.set()
        with contextlib.suppress(Exception):
            await self._work


async def _handle(deployment: str) -> DeploymentHandle:
    """Return a handle of the graph, as soon as there is a graph."""
    while True:
        try:
            return await asyncio.to_thread(
                serve.get_deployment_handle, deployment, app_name=GRAPH, _check_exists=True
            )
        except _NO_GRAPH_YET:
            _log.info("waiting_for_application", application=GRAPH)
            await asyncio.sleep(_GRAPH_POLL_S)


def _fill(models: DeploymentHandle, options: JobsOptions, settings: Settings, here: EmbedderFill) -> Fill:
    """Return what fills a new collection with vectors like those of the queries."""

    async def fill(source: str, ranges: Sequence[Range]) -> AsyncGenerator[list[Embedded], None]:
        configured = await models.configuration.remote()
        load = embedding.model_loader(configured, settings)
        sizes = FillOptions(actors=options.fill_actors, cpus=options.fill_cpus, gpus=options.fill_gpus)
        by: Fill = here if configured.engine == "openai" else RayFill(load, sizes)
        async with contextlib.aclosing(by(source, ranges)) as batches:
            async for batch in batches:
                yield batch

    return fill


async def _collections(settings: Settings) -> Collections:
    if not settings.qdrant.url:
        # Embedded ones have one owner process, a replica of the retrieval deployment.
        return handles.collections(await _handle(retrieval.NAME))
    return retrieval.open_collections(settings)


def build(args: dict[str, Any]) -> Application:
    """Validate `args` (`options.JobsOptions`) and bind the deployment.

    Raises:
        ConfigurationError: an argument is wrong; nothing was bound.
    """
    return serve.deployment(name=NAME)(Jobs).bind(parse_jobs_options(args))

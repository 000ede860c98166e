"""The worker of the queue, which ingests documents and writes exports:
``python -m little_monster.pipelines.worker``.

It runs beside the Serve application, takes jobs from PostgreSQL, has files read in Ray tasks, and asks the
embedding and the retrieval deployment. Every few seconds it makes notifications of reminders that are due.
SIGTERM or SIGINT stops it: what runs may end, what takes too long goes back to the queue. Any number of
workers may run.
"""

import argparse
import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import ray
import structlog
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from little_monster.db.listen import listen
from little_monster.db.repositories.jobs import CHANNEL
from little_monster.db.vectors.index import VectorIndex
from little_monster.db.vectors.server import QdrantIndex
from little_monster.pipelines import export, ingest, retries
from little_monster.pipelines.consumer import Consumer, Work
from little_monster.pipelines.export import ExportParts
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.periodic import repeat
from little_monster.pipelines.tasks import RayReader, ReaderOptions
from little_monster.platform.engines.remote import RemoteEmbedder, RemoteVectorIndex
from little_monster.platform.logs import setup_logs
from little_monster.platform.resources import listening_url, open_database, storage_url
from little_monster.platform.services.planner.reminders import emit_due
from little_monster.platform.settings import Settings, load_settings
from little_monster.platform.storage import open_storage

APPLICATION = "little-monster"
EMBEDDING, RETRIEVAL = "embedding", "retrieval"
FAILURES = (RayError, RayServeException)
CONCURRENCY = 2
REMINDERS_S = 15.0

_APPLICATION_POLL_S = 2.0
_RELEASE: dict[str, Work] = {ingest.KIND: ingest.release, export.KIND: retries.release}
_log = structlog.get_logger(__name__)


def main() -> None:
    """Run until a signal comes."""
    arguments = _arguments()
    settings = load_settings()
    setup_logs(settings.telemetry)
    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), namespace=APPLICATION, log_to_driver=False)
    try:
        asyncio.run(
            work(settings, ReaderOptions(cpus=arguments.reader_cpus), concurrency=arguments.concurrency)
        )
    finally:
        ray.shutdown()


async def work(settings: Settings, options: ReaderOptions, *, concurrency: int) -> None:
    """Take jobs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if not await _application_runs(stop):
        return
    async with _parts(settings, options) as parts, _calls(settings) as calls:
        consumer = Consumer(
            parts.database,
            worker=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
            kinds=[*_RELEASE],
            work=_by_kind(
                {
                    ingest.KIND: lambda lease: ingest.run_job(lease, parts),
                    export.KIND: lambda lease: export.run_job(
                        lease, ExportParts(parts.database, parts.storage)
                    ),
                }
            ),
            release=_by_kind(_RELEASE),
            concurrency=concurrency,
        )
        reminders = asyncio.create_task(
            repeat(lambda: emit_due(parts.database, datetime.now(UTC)), every_s=REMINDERS_S, stop=stop)
        )
        _log.info("worker_ready", concurrency=concurrency)
        try:
            await consumer.run(stop, calls)
        finally:
            stop.set()
            await reminders
    _log.info("worker_stopped")


def _by_kind(works: dict[str, Work]) -> Work:
    return lambda lease: works[lease.job.kind](lease)


async def _application_runs(stop: asyncio.Event) -> bool:
    """Wait for the Serve application; False when told to stop meanwhile."""
    while not stop.is_set():
        try:
            _handle(EMBEDDING)
            _handle(RETRIEVAL)
            return True
        except (KeyError, *FAILURES):
            _log.info("waiting_for_application", application=APPLICATION)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _APPLICATION_POLL_S)
    return False


@asynccontextmanager
async def _parts(settings: Settings, options: ReaderOptions) -> AsyncIterator[IngestParts]:
    async with AsyncExitStack() as stack:
        database = open_database(settings)
        stack.push_async_callback(database.close)
        embedder = RemoteEmbedder(_handle(EMBEDDING), failures=FAILURES)
        index = await _index(settings, embedder)
        stack.push_async_callback(index.close)
        storage = open_storage(storage_url(settings))
        yield IngestParts(database, storage, embedder, index, RayReader(options), settings.upload.max_pages)


async def _index(settings: Settings, embedder: RemoteEmbedder) -> VectorIndex:
    qdrant = settings.qdrant
    if not qdrant.url:
        # An embedded index has one owner process, a replica of the retrieval deployment.
        return RemoteVectorIndex(_handle(RETRIEVAL), failures=FAILURES)
    key = qdrant.api_key.get_secret_value() if qdrant.api_key else None
    dimension = (await embedder.describe()).dimension
    return QdrantIndex(qdrant.url, api_key=key, collection=qdrant.collection, dimension=dimension)


@asynccontextmanager
async def _calls(settings: Settings) -> AsyncIterator[AsyncIterator[str]]:
    calls: Any = listen(listening_url(settings), CHANNEL)
    try:
        yield calls
    finally:
        await calls.aclose()


def _handle(deployment: str) -> Any:
    return serve.get_deployment_handle(deployment, app_name=APPLICATION, _check_exists=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m little_monster.pipelines.worker", description=__doc__)
    parser.add_argument(
        "--concurrency", type=int, default=CONCURRENCY, help="documents at once (%(default)s)"
    )
    parser.add_argument(
        "--reader-cpus",
        type=float,
        default=ReaderOptions().cpus,
        help="CPUs that a read reserves",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

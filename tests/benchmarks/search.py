"""A search among many tenants: ``python -m tests.benchmarks search``.

Fills a database and Qdrant Edge with 100,000 passages of 1,000 tenants, put together from sentences of
BEIR-form folders (corpus.jsonl, queries.jsonl); a passage's vector is the mean of its sentences'. Eight
clients then ask the folders' queries of tenants by chance, through all that a search does: embedding, terms,
index, rows, highlights. Beside it, in the same run: how many of the ten nearest by exact NumPy search the
index finds, and what each stage costs alone. Prints JSON.
"""

import argparse
import asyncio
import gc
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy
import structlog

from little_monster.db.base import new_id
from little_monster.db.models.user_documents import FileType, Subject
from little_monster.db.repositories import document_chunks, user_documents
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.vectors.hybrid import DEPTH
from little_monster.db.vectors.index import Query
from little_monster.pipelines.stages.store import points
from little_monster.platform.engines import bm25
from little_monster.platform.services.chat.sentences import sentence_spans
from little_monster.platform.services.highlights import Highlighter
from little_monster.platform.services.retrieval import search_passages
from tests.benchmarks.children import answer_of
from tests.benchmarks.figures import spread, table
from tests.benchmarks.shelf import Shelf, open_shelf
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

CLIENTS, LIMIT = 8, 10
P95_GOAL_MS, RECALL_GOAL = 50, 0.99
DATA, OURS = "LM_BENCHMARK_DATA", Path(__file__).parents[1] / "fixtures/evaluation"
_SENTENCES, _PER_PASSAGE, _AT_ONCE = 3_000, (3, 7), 8
_STAGE_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Material:
    """Sentences with their vectors, and queries."""

    sentences: list[str]
    vectors: numpy.ndarray
    queries: list[str]


@dataclass(slots=True)
class Tenants:
    """Who has which passages: vectors by owner, of length 1, in the order of `ids`."""

    vectors: dict[UUID, numpy.ndarray] = field(default_factory=dict)
    ids: dict[UUID, list[UUID]] = field(default_factory=dict)


async def measure(shelf: Shelf, folders: Sequence[Path], tenants: int, each: int, searches: int) -> Any:
    """Fill, search, compare and time."""
    chance = random.Random(11)
    material = await _material(shelf, folders, chance)
    begun = time.perf_counter()
    stored = await _fill(shelf, material, chance, tenants, each)
    filled_s = time.perf_counter() - begun
    # What was made to fill it is no part of what serves: the collector need not look through it.
    gc.collect()
    gc.freeze()
    owners = [*stored.ids]
    questions = [(chance.choice(owners), chance.choice(material.queries)) for _ in range(searches)]
    await _ask(shelf, questions[:50])
    cpu_s = time.process_time()
    latencies, seconds = await _ask(shelf, questions)
    cpu_s = time.process_time() - cpu_s
    return {
        "passages": tenants * each,
        "tenants": tenants,
        "fill_s": round(filled_s, 1),
        "clients": CLIENTS,
        "searches": len(latencies),
        "searches_per_s": round(len(latencies) / seconds, 1),
        # Of this process, without PostgreSQL's: what stays true while others use the machine.
        "cpu_ms_per_search": round(1000 * cpu_s / len(latencies), 2),
        "search_ms": spread([1000 * one for one in latencies]),
        "recall@10": await _recall(shelf, stored, questions[:500]),
        "stages_alone_ms": await _stages(shelf, stored, questions[:_STAGE_ROUNDS]),
    }


async def _material(shelf: Shelf, folders: Sequence[Path], chance: random.Random) -> Material:
    texts = [row["text"] for folder in folders for row in _lines(folder / "corpus.jsonl")]
    found = [text[start:end] for text in texts for start, end in sentence_spans(text)]
    sentences = chance.sample(found, min(_SENTENCES, len(found)))
    queries = [row["text"] for folder in folders for row in _lines(folder / "queries.jsonl")]
    vectors = numpy.asarray(await shelf.embedder.embed(sentences), dtype=numpy.float32)
    return Material(sentences, vectors, queries)


async def _fill(shelf: Shelf, material: Material, chance: random.Random, tenants: int, each: int) -> Tenants:
    stored, slots = Tenants(), asyncio.Semaphore(_AT_ONCE)

    async def add() -> None:
        async with slots:
            owner = await shelf.new_user()
            await _add_document(shelf, material, chance, owner, each, stored)

    await asyncio.gather(*(add() for _ in range(tenants)))
    return stored


async def _add_document(
    shelf: Shelf, material: Material, chance: random.Random, owner: UUID, each: int, stored: Tenants
) -> None:
    picks = [
        chance.sample(range(len(material.sentences)), chance.randint(*_PER_PASSAGE)) for _ in range(each)
    ]
    texts = [" ".join(material.sentences[one] for one in pick) for pick in picks]
    vectors = numpy.stack([material.vectors[pick].mean(axis=0) for pick in picks])
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    passages = [_passage(number, text) for number, text in enumerate(texts)]
    document_id = new_id()
    async with shelf.database.session(owner) as session:
        document = await user_documents.create(
            session,
            document_id=document_id,
            user_id=owner,
            title="Notes",
            file_type=FileType.TXT,
            file_url=f"{owner}/{document_id}/original",
            file_size=sum(map(len, texts)),
            content_hash=hashlib.sha256("".join(texts).encode()).hexdigest(),
            subject=chance.choice([*Subject]),
        )
        await document_chunks.replace_all(session, user_id=owner, document_id=document_id, chunks=passages)
    await shelf.index.upsert(points(document, passages, vectors.tolist()))
    stored.vectors[owner], stored.ids[owner] = vectors, [passage.id for passage in passages]


def _passage(number: int, text: str) -> NewChunk:
    return NewChunk(
        id=new_id(),
        chunk_index=number,
        content=text,
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
        token_count=len(text.split()),
        start_offset=0,
        end_offset=len(text),
    )


async def _ask(shelf: Shelf, questions: Sequence[tuple[UUID, str]]) -> tuple[list[float], float]:
    """Return the seconds of each search by clients that ask one after the other, and of all together."""
    waiting, latencies = [*questions], []

    async def client() -> None:
        while waiting:
            owner, query = waiting.pop()
            begun = time.perf_counter()
            found = await search_passages(shelf.embedder, shelf.index, shelf.database, owner, query, LIMIT)
            latencies.append(time.perf_counter() - begun)
            assert len(found) == LIMIT

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return latencies, time.perf_counter() - begun


async def _recall(shelf: Shelf, stored: Tenants, questions: Sequence[tuple[UUID, str]]) -> float:
    """Return the part of the ten nearest by exact search that the index finds as well."""
    shares = []
    for owner, query in questions:
        [vector] = await shelf.embedder.embed([query], urgent=True)
        hits = await shelf.index.search(owner, Query(vector), limit=LIMIT)
        shares.append(len({hit.id for hit in hits} & _exact(stored, owner, vector)) / LIMIT)
    return round(statistics.mean(shares), 4)


def _exact(stored: Tenants, owner: UUID, vector: Sequence[float]) -> set[UUID]:
    scores = stored.vectors[owner] @ numpy.asarray(vector, dtype=numpy.float32)
    return {stored.ids[owner][place] for place in numpy.argsort(-scores)[:LIMIT]}


async def _stages(shelf: Shelf, stored: Tenants, questions: Sequence[tuple[UUID, str]]) -> dict[str, Any]:
    """Time each stage by itself, one after the other."""
    vectors = [(await shelf.embedder.embed([query], urgent=True))[0] for _, query in questions]
    asked = [(owner, query, vector) for (owner, query), vector in zip(questions, vectors, strict=True)]
    texts = [(await _rows(shelf, owner, stored.ids[owner][:LIMIT])) for owner, _ in questions[:20]]

    async def sync(call: Callable[[], object]) -> None:
        call()

    def found(index: int) -> list[str]:
        return texts[index % len(texts)]

    stages: dict[str, Callable[[int, UUID, str, list[float]], Awaitable[Any]]] = {
        "embed the query": lambda _, __, query, ___: shelf.embedder.embed([query], urgent=True),
        "encode its terms": lambda _, __, query, ___: sync(lambda: bm25.encode_query(query)),
        "index: by meaning": lambda _, owner, __, vector: shelf.index.search(
            owner, Query(vector), limit=DEPTH
        ),
        "index: by terms": lambda _, owner, query, ___: shelf.index.search(
            owner, Query(sparse=bm25.encode_query(query)), limit=DEPTH
        ),
        "index: both, with feedback": lambda _, owner, query, vector: shelf.index.search(
            owner, Query(vector, bm25.encode_query(query)), limit=DEPTH
        ),
        "rows": lambda _, owner, __, ___: _rows(shelf, owner, stored.ids[owner][:LIMIT]),
        "highlights": lambda index, _, query, __: sync(lambda: [*map(Highlighter(query).mark, found(index))]),
        "exact search by NumPy": lambda _, owner, __, vector: sync(lambda: _exact(stored, owner, vector)),
    }
    return {name: await _time(stage, asked) for name, stage in stages.items()}


async def _rows(shelf: Shelf, owner: UUID, ids: Sequence[UUID]) -> list[str]:
    rows = await shelf.database.fetch(owner, partial(document_chunks.find_many, chunk_ids=ids))
    return [row.content for row in rows]


async def _time(
    stage: Callable[[int, UUID, str, list[float]], Awaitable[Any]],
    asked: Sequence[tuple[UUID, str, list[float]]],
) -> dict[str, float]:
    taken = []
    for number, (owner, query, vector) in enumerate(asked):
        begun = time.perf_counter()
        await stage(number, owner, query, vector)
        taken.append(1000 * (time.perf_counter() - begun))
    return spread(taken)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def measure_apart(session: Session) -> Result:
    """Measure in a process of its own; `LM_BENCHMARK_DATA` names a folder of folders with other texts."""
    data = os.environ.get(DATA)
    folders = sorted(file.parent for file in Path(data).glob("*/corpus.jsonl")) if data else [OURS]
    result: Result = answer_of(__name__, *map(str, folders), timeout_s=3600, HF_HUB_OFFLINE="1")
    return result


def report(result: Result) -> str:
    """Write the section."""
    latency, stages = result["search_ms"], result["stages_alone_ms"]
    rows = [(name, *(f"{one[share]:.2f}" for share in ("p50", "p95"))) for name, one in stages.items()]
    return (
        f"{result['passages']} passages of {result['tenants']} tenants; {result['clients']} clients ask "
        f"{result['searches']} questions, with embedding, terms, index, rows and highlights: p50 "
        f"{latency['p50']:.1f} ms, p95 **{latency['p95']:.1f} ms**, {result['searches_per_s']:.0f} a second, "
        f"{result['cpu_ms_per_search']:.1f} ms of CPU each without PostgreSQL's. Of the ten nearest by exact "
        f"search in NumPy the index finds **{result['recall@10']:.4f}**.\n\n"
        + table(("stage, alone", "p50 (ms)", "p95 (ms)"), rows)
    )


def goals(result: Result) -> list[Goal]:
    """Compare latency and recall."""
    p95, recall = result["search_ms"]["p95"], result["recall@10"]
    return [
        Goal(
            f"p95 of a search at {result['clients']} clients on {result['passages']} passages",
            f"at most {P95_GOAL_MS} ms",
            f"{p95:.1f} ms",
            p95 <= P95_GOAL_MS,
        ),
        Goal("recall@10 against exact search", f"at least {RECALL_GOAL}", f"{recall}", recall >= RECALL_GOAL),
    ]


BENCHMARK = Benchmark("search", "Search", measure_apart, report, goals, in_rounds=False)


async def _main(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        async with open_shelf(Path(temporary)) as shelf:
            result = await measure(shelf, given.folders, given.tenants, given.each, given.searches)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    # Standard output is the result's.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--each", type=int, default=100, help="passages of a tenant")
    parser.add_argument("--searches", type=int, default=2_000)
    asyncio.run(_main(parser.parse_args()))

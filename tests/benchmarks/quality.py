"""What the search finds, on BEIR-form folders (corpus.jsonl, queries.jsonl, qrels.tsv): ``python -m
tests.benchmarks.quality FOLDER ...``.

Each document goes through the stages of an upload (parse, chunk, embed, both vectors), each query through
`search_passages`; a document stands where its best passage does. Prints nDCG@10 and recall@10 of all queries
and of both halves of them, so that what helps one half only can be told from what helps.
"""

import argparse
import asyncio
import hashlib
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.models.user_documents import FileType, UserDocument
from little_monster.db.repositories import document_chunks, user_documents
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.pipelines.stages.chunk import chunk
from little_monster.pipelines.stages.embed import embed_batches, embedded_text
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.store import points, rows
from little_monster.pipelines.stages.tokens import chunk_size, load_counter
from little_monster.platform.engines.protocols import SearchOptions
from little_monster.platform.services.retrieval import search_passages
from tests.benchmarks.shelf import Shelf, open_shelf

TOP = 10
_AT_ONCE = 8


async def measure(shelf: Shelf, folder: Path) -> dict[str, Any]:
    """Store a corpus as the documents of a new user, ask all queries, and return the scores."""
    owner = await shelf.new_user()
    slots = asyncio.Semaphore(_AT_ONCE)
    lines = _lines(folder / "corpus.jsonl")
    stored = await asyncio.gather(*(store(shelf, owner, row, slots) for row in lines))
    await index(shelf, stored)
    names = {document.row.id: document.row.title for document in stored}
    judged = _judgements(folder / "qrels.tsv")
    ndcg, recall = [], []
    for query in _lines(folder / "queries.jsonl"):
        relevant = judged.get(str(query["_id"]))
        if relevant:
            found = [names[one] for one in await _find(shelf, owner, query["text"])]
            ndcg.append(ndcg_at(TOP, found, relevant))
            recall.append(len(relevant.keys() & set(found)) / len(relevant))
    return {
        "documents": len(names),
        "passages": await shelf.index.count(owner),
        "queries": len(ndcg),
        "ndcg@10": round(statistics.mean(ndcg), 4),
        "recall@10": round(statistics.mean(recall), 4),
        "halves_ndcg@10": [round(statistics.mean(ndcg[first::2]), 4) for first in (0, 1)],
    }


@dataclass(frozen=True, slots=True)
class Stored:
    """A document in the database, and its passages."""

    row: UserDocument
    passages: list[NewChunk]


async def store(shelf: Shelf, owner: UUID, row: Mapping[str, Any], slots: asyncio.Semaphore) -> Stored:
    """Store one document and its passages, as the upload of a text file does."""
    text = "\n\n".join(part for part in (row.get("title", ""), row["text"]) if part.strip()) or "."
    info = await shelf.embedder.describe()
    parsed = parse(text.encode(), FileType.TXT, max_pages=1)
    chunks = chunk(parsed, load_counter(info.source), chunk_size(info.max_tokens))
    document_id = new_id()
    passages = rows(document_id, chunks, info.model)
    async with slots, shelf.database.session(owner) as session:
        document = await user_documents.create(
            session,
            document_id=document_id,
            user_id=owner,
            title=str(row["_id"]),
            file_type=FileType.TXT,
            file_url=f"{owner}/{document_id}/original",
            file_size=len(text.encode()),
            content_hash=hashlib.sha256(text.encode()).hexdigest(),
        )
        await document_chunks.replace_all(session, user_id=owner, document_id=document_id, chunks=passages)
    return Stored(document, passages)


async def index(shelf: Shelf, stored: Sequence[Stored]) -> None:
    """Embed and index all passages; batches go over the bounds of documents, which changes no vector."""
    passages = [(document.row, passage) for document in stored for passage in document.passages]
    texts = [embedded_text(passage.headings, passage.content) for _, passage in passages]
    async for first, vectors in embed_batches(shelf.embedder, texts):
        batch = zip(passages[first : first + len(vectors)], vectors, strict=True)
        await shelf.index.upsert([points(row, [one], [vector])[0] for (row, one), vector in batch])


def ndcg_at(top: int, found: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Return the discounted gain of what was found, as a share of the best order's (linear gains, as
    trec_eval's ndcg_cut)."""
    gained = _discounted(relevant.get(one, 0) for one in found[:top])
    return gained / _discounted(sorted(relevant.values(), reverse=True)[:top])


def _discounted(gains: Any) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


async def _find(shelf: Shelf, owner: UUID, query: str) -> list[UUID]:
    passages = await search_passages(
        shelf.embedder, shelf.index, shelf.database, owner, query, TOP, options=SearchOptions(per_document=1)
    )
    return [passage.document_id for passage in passages]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if int(score) > 0:
            judged.setdefault(query, {})[document] = int(score)
    return judged


async def _main(folders: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        async with open_shelf(Path(temporary)) as shelf:
            results = {folder.name: await measure(shelf, folder) for folder in folders}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    asyncio.run(_main(parser.parse_args().folders))

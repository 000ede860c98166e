"""What the search finds, on BEIR-form folders (corpus.jsonl, queries.jsonl, qrels.tsv): ``python -m
tests.benchmarks.quality FOLDER ...``.

Each document goes through the stages of an upload (parse, chunk, embed, both vectors), each query through
`search_passages`; a document stands where its best passage does.
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from little_monster.platform.services.evaluation.dataset import Entry, read_dataset
from little_monster.platform.services.evaluation.evaluate import evaluate
from little_monster.platform.services.retrieval import search_passages
from tests.benchmarks.shelf import Shelf, open_shelf

TOP = 10
_AT_ONCE = 8


async def measure(shelf: Shelf, folder: Path) -> dict[str, Any]:
    """Store a corpus as the documents of a new user, ask all queries, and return the scores."""
    owner, dataset = await shelf.new_user(), read_dataset(folder)
    slots = asyncio.Semaphore(_AT_ONCE)
    stored = await asyncio.gather(
        *(store(shelf, owner, key, entry, slots) for key, entry in dataset.corpus.items())
    )
    await index(shelf, stored)
    names = {document.row.id: document.row.title for document in stored}

    async def find(question: str) -> list[str]:
        return [names[one] for one in await _find(shelf, owner, question)]

    scores = await evaluate(dataset, find, k=TOP)
    return {"documents": len(names), "passages": await shelf.index.count(owner), **asdict(scores)}


@dataclass(frozen=True, slots=True)
class Stored:
    """A document in the database, and its passages."""

    row: UserDocument
    passages: list[NewChunk]


async def store(shelf: Shelf, owner: UUID, key: str, entry: Entry, slots: asyncio.Semaphore) -> Stored:
    """Store one document and its passages, as the upload of a text file does."""
    text = "\n\n".join(part for part in (entry.title, entry.text) if part.strip()) or "."
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
            title=key,
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


async def _find(shelf: Shelf, owner: UUID, query: str) -> list[UUID]:
    passages = await search_passages(
        shelf.embedder, shelf.index, shelf.database, owner, query, TOP, options=SearchOptions(per_document=1)
    )
    return [passage.document_id for passage in passages]


async def _main(folders: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        async with open_shelf(Path(temporary)) as shelf:
            results = {folder.name: await measure(shelf, folder) for folder in folders}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    asyncio.run(_main(parser.parse_args().folders))

"""Finds the passages that answer a query: points of the owner, then the rows they stand for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from little_monster.db.repositories import document_chunks
from little_monster.db.repositories.document_chunks import TitledChunk
from little_monster.db.session import Database
from little_monster.db.vectors.fusion import DEPTH
from little_monster.db.vectors.index import Hit, Query, VectorIndex
from little_monster.platform.engines import bm25
from little_monster.platform.engines.protocols import PLAIN, Embedder, Passage, SearchOptions

# The index may hold points whose rows are gone or not yet written; a few more hits than asked for make up
# for them.
SPARE_HITS = 8


async def search_passages(
    embedder: Embedder,
    index: VectorIndex,
    database: Database,
    owner: UUID,
    query: str,
    limit: int,
    document_ids: Sequence[UUID] = (),
    options: SearchOptions = PLAIN,
) -> list[Passage]:
    """Return at most `limit` passages of `owner`, best first, of all documents or only of `document_ids`.

    The owner is a filter in the index and, once more, the user of the transaction that reads the rows, so
    that a wrong entry in the index cannot show anybody another one's text.
    """
    where = replace(options.where, document_ids=(*options.where.document_ids, *document_ids))
    [vector] = await embedder.embed([query], urgent=True)
    wanted = Query(vector, bm25.encode_query(query))
    hits = await index.search(owner, wanted, limit=DEPTH, where=where)
    hits = [*_at_most(hits, options.per_document)][: options.offset + limit + SPARE_HITS]
    if not hits:
        return []
    scores = {hit.id: hit.score for hit in hits}
    async with database.session(owner) as session:
        rows = await document_chunks.get_many(session, list(scores))
    shown = rows[options.offset : options.offset + limit]
    return [_passage(row, scores[row.chunk.id]) for row in shown]


def _at_most(hits: Sequence[Hit], per_document: int | None) -> Iterator[Hit]:
    """Yield the hits without those of a document that has had its number already."""
    seen: Counter[UUID] = Counter()
    for hit in hits:
        seen[hit.document_id] += 1
        if per_document is None or seen[hit.document_id] <= per_document:
            yield hit


def _passage(row: TitledChunk, score: float) -> Passage:
    chunk = row.chunk
    return Passage(
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        document_title=row.title,
        content=chunk.content,
        score=score,
        page=chunk.page,
        page_end=chunk.page_end,
        start=chunk.start_offset,
        end=chunk.end_offset,
        headings=tuple(chunk.headings),
    )

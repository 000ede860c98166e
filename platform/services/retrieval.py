"""Finds the passages that answer a query: nearest vectors of the owner, then the rows they stand for."""

from collections.abc import Sequence
from uuid import UUID

from little_monster.db.repositories import document_chunks
from little_monster.db.repositories.document_chunks import TitledChunk
from little_monster.db.session import Database
from little_monster.db.vectors.index import VectorIndex
from little_monster.platform.engines.protocols import Embedder, Passage

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
) -> list[Passage]:
    """Return at most `limit` passages of `owner`, best first, of all documents or only of `document_ids`.

    The owner is a filter in the index and, once more, the user of the transaction that reads the rows, so
    that a wrong entry in the index cannot show anybody another one's text.
    """
    [vector] = await embedder.embed([query], urgent=True)
    hits = await index.search(owner, vector, limit=limit + SPARE_HITS, document_ids=document_ids)
    if not hits:
        return []
    scores = {hit.id: hit.score for hit in hits}
    async with database.session(owner) as session:
        rows = await document_chunks.get_many(session, list(scores))
    return [_passage(row, scores[row.chunk.id]) for row in rows[:limit]]


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

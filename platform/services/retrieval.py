"""Finds the passages that answer a query: points of the owner, then the rows they stand for.

The one way to them: nothing else reads the index for a user, and nothing here works without an owner.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from little_monster.db.repositories import document_chunks
from little_monster.db.repositories.document_chunks import FoundChunk
from little_monster.db.session import Database
from little_monster.db.vectors.hybrid import DEPTH
from little_monster.db.vectors.index import Hit, Query, SearchFilter, VectorIndex
from little_monster.platform.engines import bm25
from little_monster.platform.engines.protocols import PLAIN, Embedder, Passage, Reranker, SearchOptions
from little_monster.platform.services.highlights import Highlighter

RERANKED = 32
"""Passages that a reranker reads. It does not see the others, which follow in their order."""

# The index may hold points whose rows are gone, not yet written, or no longer of a subject; a few more hits
# than asked for make up for them.
_SPARE_HITS = 8

Found = TypeVar("Found", Hit, Passage)


async def search_passages(
    embedder: Embedder,
    index: VectorIndex,
    database: Database,
    owner: UUID,
    query: str,
    limit: int,
    document_ids: Sequence[UUID] = (),
    options: SearchOptions = PLAIN,
    reranker: Reranker | None = None,
) -> list[Passage]:
    """Return at most `limit` passages of `owner`, best first, of all documents or only of `document_ids`.

    The owner is a filter in the index and, once more, the user of the transaction that reads the rows, so
    that a wrong entry in the index cannot show anybody another one's text.
    """
    where = replace(options.where, document_ids=tuple(document_ids)) if document_ids else options.where
    [vector] = await embedder.embed([query], urgent=True)
    end = options.offset + limit
    whole = reranker is not None or options.per_document is not None
    depth = DEPTH if whole else min(end + _SPARE_HITS, DEPTH)
    hits = await index.search(owner, Query(vector, bm25.encode_query(query)), limit=depth, where=where)
    if reranker is None:
        hits = [*_at_most(hits, options.per_document)][: end + _SPARE_HITS]
        found = await _read(database, owner, hits[:end], where)
        if len(found) < end:
            found += await _read(database, owner, hits[end:], where)
    else:
        found = await _read(database, owner, hits, where)
        found = [*_at_most(await _reranked(reranker, query, found), options.per_document)]
    highlighter = Highlighter(query)
    return [_highlighted(highlighter, passage) for passage in found[options.offset : end]]


async def _read(database: Database, owner: UUID, hits: Sequence[Hit], where: SearchFilter) -> list[Passage]:
    if not hits:
        return []
    scores = {hit.id: hit.score for hit in hits}
    rows = await database.fetch(owner, partial(document_chunks.find_many, chunk_ids=[*scores]))
    # A document whose subject was just changed stands under the old one in the index for a moment.
    return [
        _passage(row, scores[row.id]) for row in rows if not where.subjects or row.subject in where.subjects
    ]


async def _reranked(reranker: Reranker, query: str, passages: Sequence[Passage]) -> list[Passage]:
    first, rest = passages[:RERANKED], passages[RERANKED:]
    scores = await reranker.score(query, [passage.content for passage in first]) if first else []
    scored = [replace(passage, score=score) for passage, score in zip(first, scores, strict=True)]
    last = min(scores, default=0.0)
    # They come after all that were read, so that their scores may not be higher.
    return [
        *sorted(scored, key=lambda passage: (-passage.score, passage.chunk_id)),
        *(replace(passage, score=min(passage.score, last)) for passage in rest),
    ]


def _at_most(found: Sequence[Found], per_document: int | None) -> Iterator[Found]:
    """Yield what was found without what is of a document that has had its number already."""
    seen: Counter[UUID] = Counter()
    for one in found:
        seen[one.document_id] += 1
        if per_document is None or seen[one.document_id] <= per_document:
            yield one


def _passage(row: FoundChunk, score: float) -> Passage:
    return Passage(
        chunk_id=row.id,
        document_id=row.document_id,
        document_title=row.title,
        content=row.content,
        score=score,
        page=row.page,
        page_end=row.page_end,
        start=row.start_offset,
        end=row.end_offset,
        headings=tuple(row.headings),
    )


def _highlighted(highlighter: Highlighter, passage: Passage) -> Passage:
    found = highlighter.mark(passage.content)
    return replace(passage, matches=found.matches, quote=found.quote)

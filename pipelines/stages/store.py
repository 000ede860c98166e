"""Chunks to what is stored of them: rows in PostgreSQL, points in the vector index."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.vectors.index import Point
from little_monster.pipelines.stages.chunk import Chunk


def point_id(document_id: UUID, chunk: Chunk, model: str) -> UUID:
    """Return the id of a chunk's row and point; as it comes from content, a repeated step changes nothing."""
    return uuid5(document_id, f"{chunk.index}:{chunk.content_hash}:{model}")


def rows(document_id: UUID, chunks: Sequence[Chunk], model: str) -> list[NewChunk]:
    """Return the rows of a document."""
    return [
        NewChunk(
            id=point_id(document_id, chunk, model),
            chunk_index=chunk.index,
            content=chunk.content,
            content_hash=chunk.content_hash,
            token_count=chunk.token_count,
            start_offset=chunk.start,
            end_offset=chunk.end,
            page=chunk.page,
            page_end=chunk.page_end,
            headings=chunk.headings,
            boxes=chunk.boxes,
        )
        for chunk in chunks
    ]


def points(
    owner: UUID, document_id: UUID, rows: Sequence[NewChunk], vectors: Sequence[list[float]]
) -> list[Point]:
    """Return the points of some rows, given a vector a row."""
    return [
        Point(
            id=row.id,
            owner=owner,
            document_id=document_id,
            vector=vector,
            payload={"chunk_index": row.chunk_index, "page": row.page},
        )
        for row, vector in zip(rows, vectors, strict=True)
    ]

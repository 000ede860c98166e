"""Chunks to what is stored of them: rows in PostgreSQL, points in the vector index."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.user_documents import UserDocument
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.vectors.index import Point
from little_monster.pipelines.stages.chunk import Chunk
from little_monster.pipelines.stages.embed import embedded_text
from little_monster.platform.engines import bm25


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


Row = NewChunk | DocumentChunk


def points(document: UserDocument, rows: Sequence[Row], vectors: Sequence[list[float]]) -> list[Point]:
    """Return the points of some rows of a document, new or stored, given a vector a row."""
    return [
        Point(
            id=row.id,
            owner=document.user_id,
            document_id=document.id,
            vector=vector,
            sparse=bm25.encode(embedded_text(row.headings, row.content)),
            payload=_payload(document, row),
        )
        for row, vector in zip(rows, vectors, strict=True)
    ]


def _payload(document: UserDocument, row: Row) -> dict[str, Any]:
    return {
        "chunk_index": row.chunk_index,
        "page": row.page,
        "headings": [*row.headings],
        "subject": document.subject,
        "file_type": document.file_type,
        "created_at": document.created_at,
    }

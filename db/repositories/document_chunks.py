"""Passages of documents."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, any_, bindparam, delete, select
from sqlalchemy import insert as sql_insert

from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.user_documents import Subject, UserDocument
from little_monster.db.reads import ReadColumns, ReadQuery
from little_monster.db.repositories.rows import Rows, changed
from little_monster.db.session import Session, Source


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A passage to store; the fields mean what they mean in `DocumentChunk`."""

    id: UUID
    chunk_index: int
    content: str
    content_hash: str
    token_count: int
    start_offset: int
    end_offset: int
    page: int | None = None
    page_end: int | None = None
    headings: Sequence[str] = ()
    boxes: Sequence[Sequence[float]] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


class TitledChunk(NamedTuple):
    """A passage, and title and subject of its document."""

    chunk: DocumentChunk
    title: str
    subject: Subject | None


class FoundChunk(NamedTuple):
    """What a search shows of a passage, and title and subject of its document."""

    id: UUID
    document_id: UUID
    content: str
    page: int | None
    page_end: int | None
    start_offset: int
    end_offset: int
    headings: Rows[str]
    title: str
    subject: Subject | None


async def replace_all(
    session: Session, *, user_id: UUID, document_id: UUID, chunks: Sequence[NewChunk]
) -> bool:
    """Put `chunks` in the place of all that the document had; False when there is no such document."""
    locked = select(UserDocument.id).where(UserDocument.id == document_id).with_for_update()
    if await session.scalar(locked) is None:
        return False
    await changed(session, delete(DocumentChunk).where(DocumentChunk.document_id == document_id))
    if chunks:
        rows = [_values(user_id, document_id, chunk) for chunk in chunks]
        await session.execute(sql_insert(DocumentChunk), rows)
    return True


async def list(
    session: Session, document_id: UUID, *, limit: int, after: int | None = None
) -> Rows[DocumentChunk]:
    """Return at most `limit` passages of the document, in its order, behind the `chunk_index` `after`."""
    query = select(DocumentChunk).where(DocumentChunk.document_id == document_id)
    if after is not None:
        query = query.where(DocumentChunk.chunk_index > after)
    return [*await session.scalars(query.order_by(DocumentChunk.chunk_index).limit(limit))]


async def get(session: Session, chunk_id: UUID) -> DocumentChunk | None:
    """Return the passage; None also for somebody else's."""
    return await session.get(DocumentChunk, chunk_id)


async def get_many(session: Source, chunk_ids: Sequence[UUID]) -> Rows[TitledChunk]:
    """Return those of the passages that are the user's, in the order of `chunk_ids`."""
    rows = [TitledChunk(*row) for row in await _titled().rows(session, {"ids": [*chunk_ids]})]
    found = {row.chunk.id: row for row in rows}
    return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]


async def find_many(session: Source, chunk_ids: Sequence[UUID]) -> Rows[FoundChunk]:
    """Return the same, without what a search does not show."""
    rows = [FoundChunk(*row) for row in await _found().rows(session, {"ids": [*chunk_ids]})]
    found = {row.id: row for row in rows}
    return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]


@cache
def _titled() -> ReadQuery:
    return ReadQuery(_named(select(DocumentChunk, UserDocument.title, UserDocument.subject)))


@cache
def _found() -> ReadColumns:
    own = [getattr(DocumentChunk, name) for name in FoundChunk._fields[:-2]]
    return ReadColumns(_named(select(*own, UserDocument.title, UserDocument.subject)))


def _named(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    return query.join(UserDocument, UserDocument.id == DocumentChunk.document_id).where(
        DocumentChunk.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
    )


def _values(user_id: UUID, document_id: UUID, chunk: NewChunk) -> dict[str, Any]:
    return {
        "id": chunk.id,
        "user_id": user_id,
        "document_id": document_id,
        "chunk_index": chunk.chunk_index,
        "content": chunk.content,
        "content_hash": chunk.content_hash,
        "token_count": chunk.token_count,
        "page": chunk.page,
        "page_end": chunk.page_end,
        "start_offset": chunk.start_offset,
        "end_offset": chunk.end_offset,
        "headings": [*chunk.headings],
        "boxes": [[*box] for box in chunk.boxes],
        "embedding_id": str(chunk.id),
        "metadata_": chunk.metadata,
    }

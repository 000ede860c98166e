"""Passages of documents that are being read. Who writes here holds the document's job."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy import insert as sql_insert

from little_monster.db.models.pending_chunks import PendingChunk
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.rows import Rows, changed
from little_monster.db.session import Session


class Standing(NamedTuple):
    """How many passages of a document are in the index, of how many."""

    indexed: int
    total: int


async def replace_all(
    session: Session, *, user_id: UUID, document_id: UUID, job_id: UUID, chunks: Sequence[NewChunk]
) -> None:
    """Put `chunks`, none of them indexed, in the place of all that wait for the document.

    Raises:
        IntegrityError: the document is gone.
    """
    await clear(session, document_id)
    if chunks:
        rows = [_values(user_id, document_id, job_id, chunk) for chunk in chunks]
        await session.execute(sql_insert(PendingChunk), rows)


async def ids(session: Session, document_id: UUID) -> Rows[UUID]:
    """Return the ids of all that wait for the document, in its order."""
    query = select(PendingChunk.id).where(PendingChunk.document_id == document_id)
    return [*await session.scalars(query.order_by(PendingChunk.chunk_index))]


async def list(
    session: Session, document_id: UUID, *, only: Sequence[UUID] | None = None, unindexed: bool = False
) -> Rows[NewChunk]:
    """Return the passages in the document's order: all, those of the ids `only`, or those not indexed."""
    query = select(PendingChunk).where(PendingChunk.document_id == document_id)
    if only is not None:
        query = query.where(PendingChunk.id.in_(only))
    if unindexed:
        query = query.where(PendingChunk.indexed_at.is_(None))
    rows = await session.scalars(query.order_by(PendingChunk.chunk_index))
    return [NewChunk(id=row.id, chunk_index=row.chunk_index, **row.chunk) for row in rows]


async def note_indexed(session: Session, document_id: UUID, chunk_ids: Sequence[UUID]) -> Standing:
    """Note that the points of some passages are written, and return how many of all are."""
    chosen = (PendingChunk.document_id == document_id, PendingChunk.id.in_(chunk_ids))
    await changed(session, update(PendingChunk).where(*chosen).values(indexed_at=func.now()))
    return await standing(session, document_id)


async def standing(session: Session, document_id: UUID) -> Standing:
    """Return how many passages of the document are in the index, of how many."""
    query = select(func.count(PendingChunk.indexed_at), func.count())
    row = (await session.execute(query.where(PendingChunk.document_id == document_id))).one()
    return Standing(*row)


async def forget_indexed(session: Session, document_id: UUID) -> None:
    """Note that none of the points of the document is there any more."""
    query = update(PendingChunk).where(PendingChunk.document_id == document_id)
    await changed(session, query.values(indexed_at=None))


async def clear(session: Session, document_id: UUID) -> None:
    """Remove all that waits for the document."""
    await changed(session, delete(PendingChunk).where(PendingChunk.document_id == document_id))


def _values(user_id: UUID, document_id: UUID, job_id: UUID, chunk: NewChunk) -> dict[str, Any]:
    rest = asdict(chunk)
    return {
        "id": rest.pop("id"),
        "user_id": user_id,
        "document_id": document_id,
        "job_id": job_id,
        "chunk_index": rest.pop("chunk_index"),
        "chunk": rest,
    }

"""What all users have, by ids: to compare it with the vector index and the file storage. For nobody's session
alone; `db/policies/outbox.py` says what is seen."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories.rows import Rows
from little_monster.db.session import Session


class KnownChunk(NamedTuple):
    """A passage, and the status of its document."""

    id: UUID
    owner: UUID
    document_id: UUID
    status: EmbeddingStatus


class KnownDocument(NamedTuple):
    """A document; `file_url` is where the storage has its file."""

    id: UUID
    owner: UUID
    status: EmbeddingStatus
    file_url: str
    chunk_count: int


class Totals(NamedTuple):
    """Documents that are ready, their passages, and the tokens of the longest passage."""

    documents: int
    chunks: int
    longest: int


async def scan_chunks(session: Session, after: UUID | None, limit: int) -> Rows[KnownChunk]:
    """Return at most `limit` passages behind the id `after`, in the order of their ids."""
    query = text("SELECT * FROM library.scan_chunks(:after, :limit)")
    found = await session.execute(query, {"after": after, "limit": limit})
    return [KnownChunk(row[0], row[1], row[2], EmbeddingStatus(row[3])) for row in found]


async def scan_documents(session: Session, after: UUID | None, limit: int) -> Rows[KnownDocument]:
    """Return at most `limit` documents behind the id `after`, in the order of their ids."""
    query = text("SELECT * FROM library.scan_documents(:after, :limit)")
    found = await session.execute(query, {"after": after, "limit": limit})
    return [KnownDocument(row[0], row[1], EmbeddingStatus(row[2]), row[3], row[4]) for row in found]


async def states(session: Session, document_ids: Sequence[UUID]) -> dict[UUID, EmbeddingStatus]:
    """Return the status of those of the documents that are there."""
    found = await session.execute(text("SELECT * FROM library.states(:ids)"), {"ids": [*document_ids]})
    return {row[0]: EmbeddingStatus(row[1]) for row in found}


async def known(session: Session, ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the ids that a document or a job has."""
    return {*await session.scalars(text("SELECT library.known(:ids)"), {"ids": [*ids]})}


async def totals(session: Session) -> Totals:
    """Return how much there is."""
    return Totals(*(await session.execute(text("SELECT * FROM library.totals()"))).one())

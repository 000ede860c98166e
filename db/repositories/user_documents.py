"""Uploaded documents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update

from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import After, Rows, changed, insert, locked, newest_first
from little_monster.db.session import Database, Session

_BY_ID = ByKey(UserDocument)


async def create(
    session: Session,
    *,
    document_id: UUID,
    user_id: UUID,
    title: str,
    file_type: FileType,
    file_url: str,
    file_size: int,
    content_hash: str,
    subject: Subject | None = None,
    metadata: dict[str, Any] | None = None,
) -> UserDocument:
    """Insert a document that waits to be read. The caller makes `document_id`, as the key in the storage
    holds it.
    """
    row = UserDocument(
        id=document_id,
        user_id=user_id,
        title=title,
        file_type=file_type,
        file_url=file_url,
        file_size=file_size,
        content_hash=content_hash,
        subject=subject,
        metadata_=metadata or {},
    )
    return await insert(session, row)


async def get(session: Session, document_id: UUID) -> UserDocument | None:
    """Return the document; None also for somebody else's."""
    return await session.get(UserDocument, document_id)


async def lock(session: Session, document_id: UUID) -> UserDocument | None:
    """Return the document as `get` does, and let nobody change the row before this transaction ends."""
    return await locked(session, UserDocument, document_id)


async def read(database: Database, owner: UUID, document_id: UUID, *, fresh: bool) -> UserDocument | None:
    """Return the document as `get` does, in a transaction of its own."""
    return await database.read(owner, _BY_ID, document_id, fresh=fresh)


async def get_many(session: Session, document_ids: Sequence[UUID]) -> Rows[UserDocument]:
    """Return those of the documents that are the user's, in no order."""
    return [*await session.scalars(select(UserDocument).where(UserDocument.id.in_(document_ids)))]


async def list(
    session: Session,
    *,
    limit: int,
    after: After = None,
    status: EmbeddingStatus | None = None,
    subject: Subject | None = None,
) -> Rows[UserDocument]:
    """Return at most `limit` documents, newest first, behind `after` (`key` of the last one seen)."""
    query = select(UserDocument)
    if status is not None:
        query = query.where(UserDocument.embedding_status == status)
    if subject is not None:
        query = query.where(UserDocument.subject == subject)
    query = newest_first(query, UserDocument.created_at, UserDocument.id, limit=limit, after=after)
    return [*await session.scalars(query)]


def key(row: UserDocument) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def find_by_hash(session: Session, content_hash: str) -> UserDocument | None:
    """Return the user's newest document with these very bytes."""
    query = select(UserDocument).where(UserDocument.content_hash == content_hash)
    return await session.scalar(query.order_by(UserDocument.created_at.desc()).limit(1))


async def set_status(
    session: Session,
    document_id: UUID,
    status: EmbeddingStatus,
    *,
    page_count: int | None = None,
    error_code: str | None = None,
    error_reason: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> bool:
    """Set the status and why; an earlier error is cleared. False when there is no such document.

    `page_count` and `metadata` (merged into what is there) are left alone when None.
    """
    values: dict[str, Any] = {
        "embedding_status": status,
        "error_code": error_code,
        "error_reason": error_reason,
    }
    if page_count is not None:
        values["page_count"] = page_count
    if metadata is not None:
        values["metadata_"] = UserDocument.metadata_.op("||")(metadata)
    query = update(UserDocument).where(UserDocument.id == document_id).values(values)
    return await changed(session, query) == 1


async def give_up(session: Session, document_id: UUID, *, code: str, reason: str) -> bool:
    """Let a document fail that is being read or waits for it; False when there is no such document."""
    waiting = UserDocument.embedding_status.in_([EmbeddingStatus.PENDING, EmbeddingStatus.PROCESSING])
    query = update(UserDocument).where(UserDocument.id == document_id, waiting)
    values = {"embedding_status": EmbeddingStatus.FAILED, "error_code": code, "error_reason": reason}
    return await changed(session, query.values(values)) == 1


async def ids(session: Session, user_id: UUID) -> Rows[UUID]:
    """Return the ids of all documents of the user."""
    return [*await session.scalars(select(UserDocument.id).where(UserDocument.user_id == user_id))]


async def delete(session: Session, document_id: UUID) -> bool:
    """Delete the document with its chunks; False when there is no such document."""
    return await changed(session, sql_delete(UserDocument).where(UserDocument.id == document_id)) == 1

"""Uploaded documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Double, Select, Uuid, column, func, select, update
from sqlalchemy import delete as sql_delete

from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import (
    Rows,
    changed,
    delete_whole,
    highest_first,
    insert,
    locked,
    oldest_first,
)
from little_monster.db.session import Database, Session

_BY_ID = ByKey(UserDocument)


class DocumentOrder(StrEnum):
    """Orders of a list of documents, the first first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"
    RELEVANCE = "relevance"


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """What to list: None means all. `words` is a search as people write it (`cell -wall "light reaction"`),
    over titles."""

    status: EmbeddingStatus | None = None
    file_type: FileType | None = None
    subject: Subject | None = None
    words: str | None = None


ALL = DocumentFilter()


@dataclass(frozen=True, slots=True)
class Listed:
    """A document and what its place in the list rests on: when it was uploaded, its bytes, or its rank."""

    document: UserDocument
    value: datetime | int | float


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
    wanted: DocumentFilter = ALL,
    *,
    order: DocumentOrder = DocumentOrder.NEWEST,
    limit: int,
    after: tuple[datetime | Decimal, UUID] | None = None,
) -> Rows[Listed]:
    """Return at most `limit` documents behind `after` (`value`, as a Decimal where it is a number, and id of
    the last one seen in the same order). `RELEVANCE` needs `words`.
    """
    query: Select[Any] = select(UserDocument)
    rank: Any = None
    if wanted.words is not None:
        # What an index finds, past row level security, which allows it none.
        found = func.library.find_documents(wanted.words).table_valued(
            column("id", Uuid()), column("rank", Double()), name="found"
        )
        query, rank = query.join(found, found.c.id == UserDocument.id), found.c.rank
    value = {
        DocumentOrder.NEWEST: UserDocument.created_at,
        DocumentOrder.OLDEST: UserDocument.created_at,
        DocumentOrder.LARGEST: UserDocument.file_size,
        DocumentOrder.RELEVANCE: rank,
    }[order]
    query = _filtered(query, wanted).add_columns(value.label("value"))
    ordered = oldest_first if order is DocumentOrder.OLDEST else highest_first
    seen: Any = after
    if after is not None and isinstance(after[0], Decimal):
        # The cursor's number as one of the column's own kind.
        seen = value.type.python_type(after[0]), after[1]
    query = ordered(query, value, UserDocument.id, limit=limit, after=seen)
    return [Listed(row.UserDocument, row.value) for row in await session.execute(query)]


def _filtered(query: Select[Any], wanted: DocumentFilter) -> Select[Any]:
    columns = {
        UserDocument.embedding_status: wanted.status,
        UserDocument.file_type: wanted.file_type,
        UserDocument.subject: wanted.subject,
    }
    return query.where(*(column == value for column, value in columns.items() if value is not None))


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
    report: dict[str, Any] | None = None,
) -> bool:
    """Set the status and why; an earlier error is cleared. False when there is no such document.

    `page_count`, `report` and `metadata` (merged into what is there) are left alone when None.
    """
    values: dict[str, Any] = {
        "embedding_status": status,
        "error_code": error_code,
        "error_reason": error_reason,
    }
    if page_count is not None:
        values["page_count"] = page_count
    if report is not None:
        values["report"] = report
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


async def delete(session: Session, document_id: UUID) -> bool:
    """Delete the document with its chunks; False when there is no such document."""
    return await delete_whole(session, sql_delete(UserDocument).where(UserDocument.id == document_id)) == 1

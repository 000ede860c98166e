"""The passages of documents that are being read: what takes the place of `document_chunks` in the end."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped

from little_monster.db.base import Base, Created, Keyed


class PendingChunk(Keyed, Created, Base):
    """One passage that no list and no search shows yet. `id` is that of its row and its point to be, `job_id`
    the job that read it, `chunk` the rest of the row, and `indexed_at` when its point was written.

    Rows stand here before the first point is written, so that every point of the index has a row that
    explains it, and work that broke off goes on behind what is indexed.
    """

    __tablename__ = "pending_chunks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "document_id"], ["user_documents.user_id", "user_documents.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("document_id", "chunk_index"),
    )

    user_id: Mapped[UUID]
    document_id: Mapped[UUID]
    job_id: Mapped[UUID]
    chunk_index: Mapped[int]
    chunk: Mapped[dict[str, Any]]
    indexed_at: Mapped[datetime | None]

"""The passages of documents: the truth from which the vector index can be rebuilt."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class DocumentChunk(Keyed, Created, Base):
    """One passage. `id` is the point's id in the vector index, derived from content, and `embedding_id` its
    text form.

    `page` and `page_end` are 1-based and None where there are no pages; `start_offset` and `end_offset` are
    characters of the document's extracted text. `boxes` say where its lines stand on their pages, each
    `[page, start, end, left, bottom, right, top]`: characters of the document's text, then points from the
    lower left corner of the page; empty where the format has no pages. `user_id` is a copy, which the
    composite foreign key keeps true.
    """

    __tablename__ = "document_chunks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "document_id"], ["user_documents.user_id", "user_documents.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("document_id", "chunk_index", name="idx_document_chunks_document"),
        Index("document_chunks_user_idx", "user_id", "document_id"),
    )

    user_id: Mapped[UUID]
    document_id: Mapped[UUID]
    chunk_index: Mapped[int]
    content: Mapped[str]
    content_hash: Mapped[str]
    token_count: Mapped[int]
    page: Mapped[int | None]
    page_end: Mapped[int | None]
    start_offset: Mapped[int]
    end_offset: Mapped[int]
    headings: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    boxes: Mapped[list[Any]] = mapped_column(JSONB, default=list, server_default=text("'[]'"))
    embedding_id: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))

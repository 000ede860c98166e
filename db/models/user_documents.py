"""What users uploaded."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum


class FileType(StrEnum):
    """Kinds of file that can be read."""

    PDF = "pdf"
    DOCX = "docx"
    TXT = "txt"
    MARKDOWN = "markdown"
    HTML = "html"
    PPTX = "pptx"
    EPUB = "epub"


class Subject(StrEnum):
    """Subjects of study."""

    MATHEMATICS = "mathematics"
    PHYSICS = "physics"
    CHEMISTRY = "chemistry"
    BIOLOGY = "biology"
    COMPUTER_SCIENCE = "computer_science"
    HISTORY = "history"
    GEOGRAPHY = "geography"
    LITERATURE = "literature"
    LANGUAGES = "languages"
    ECONOMICS = "economics"
    PSYCHOLOGY = "psychology"
    PHILOSOPHY = "philosophy"
    ART = "art"
    OTHER = "other"


class EmbeddingStatus(StrEnum):
    """How far a document is on its way into the index."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class UserDocument(Keyed, Stamped, Base):
    """An uploaded document.

    `file_url` is the key in the file storage, `file_size` is in bytes, `content_hash` is SHA-256 in
    hexadecimal. A trigger keeps `chunk_count`. `error_code` and `error_reason` say why it failed;
    `report` what reading it saw and kept.
    """

    __tablename__ = "user_documents"
    __table_args__ = (
        # The target of the composite foreign keys that copy user_id.
        UniqueConstraint("user_id", "id"),
        Index("idx_user_documents_user", "user_id", text("created_at DESC"), text("id DESC")),
        Index("idx_user_documents_status", "embedding_status", text("created_at DESC")),
        Index("idx_user_documents_hash", "user_id", "content_hash"),
        Index("idx_documents_search", text("to_tsvector('english', title)"), postgresql_using="gin"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    file_type: Mapped[FileType] = mapped_column(pg_enum(FileType, "file_type"))
    subject: Mapped[Subject | None] = mapped_column(pg_enum(Subject, "subject"))
    file_url: Mapped[str]
    file_size: Mapped[int]
    content_hash: Mapped[str]
    page_count: Mapped[int | None]
    chunk_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    embedding_status: Mapped[EmbeddingStatus] = mapped_column(
        pg_enum(EmbeddingStatus, "embedding_status"),
        default=EmbeddingStatus.PENDING,
        server_default=EmbeddingStatus.PENDING.value,
    )
    error_code: Mapped[str | None]
    error_reason: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    report: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))

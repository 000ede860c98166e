"""What has still to be changed outside of the database, in the vector index and the file storage."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created


class ChangeKind(StrEnum):
    """What is to be done. None says how things were: whoever does it looks how they are."""

    DELETE_DOCUMENT = "delete_document"
    DELETE_OWNER = "delete_owner"
    CHECK_DOCUMENT = "check_document"
    SET_PAYLOAD = "set_payload"


class IndexChange(Created, Base):
    """One change, which triggers write in the transaction that makes it necessary. It outlives what it is
    about, so that nothing refers to it; `key` is where the storage has the file of a document that is
    deleted. `next_at` is when it is tried next.
    """

    __tablename__ = "index_outbox"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('delete_document', 'delete_owner', 'check_document', 'set_payload')", name="kind"
        ),
        CheckConstraint("(kind = 'delete_owner') = (document_id IS NULL)", name="document"),
        Index("index_outbox_next_idx", "next_at"),
        Index("index_outbox_document_idx", "document_id"),
        Index("index_outbox_owner_idx", "user_id", postgresql_where=text("document_id IS NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]
    user_id: Mapped[UUID]
    document_id: Mapped[UUID | None]
    key: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    next_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=91)

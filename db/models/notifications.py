"""What users are told."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class Notification(Keyed, Created, Base):
    """One thing that a user is told, once for each `dedup_key`.

    `kind` says what `subject_id` and `data` are: of a `reminder` the planner's event, and when it begins.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("user_id", "dedup_key"),
        Index("notifications_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
        Index(
            "notifications_unread_idx",
            "user_id",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=text("read_at IS NULL"),
        ),
        Index("notifications_read_idx", "read_at", postgresql_where=text("read_at IS NOT NULL")),
        Index("notifications_oldest_idx", "created_at", postgresql_where=text("read_at IS NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str]
    title: Mapped[str]
    body: Mapped[str] = mapped_column(default="", server_default=text("''"))
    subject_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    dedup_key: Mapped[str | None]
    read_at: Mapped[datetime | None]

"""Conversations with the assistant."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum


class ContextType(StrEnum):
    """What a conversation is about."""

    GENERAL = "general"
    VIDEO = "video"
    DOCUMENT = "document"
    RESEARCH = "research"


class ChatConversation(Keyed, Stamped, Base):
    """A conversation. A trigger keeps `message_count` and `last_message_at`, which starts as the time of
    creation.
    """

    __tablename__ = "chat_conversations"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        Index("idx_chat_conversations_user", "user_id", text("last_message_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    context_type: Mapped[ContextType] = mapped_column(
        pg_enum(ContextType, "context_type"),
        default=ContextType.GENERAL,
        server_default=ContextType.GENERAL.value,
    )
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    message_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_message_at: Mapped[datetime] = mapped_column(server_default=func.now())

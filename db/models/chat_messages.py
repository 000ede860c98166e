"""What was said in a conversation."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import FetchedValue, ForeignKeyConstraint, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum


class MessageRole(StrEnum):
    """Who said it."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class MessageStatus(StrEnum):
    """Whether it was said to its end."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class ChatMessage(Keyed, Stamped, Base):
    """One message; `sources` are the passages it cites. `user_id` is a copy, which the composite foreign key
    keeps true.
    """

    __tablename__ = "chat_messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["chat_conversations.user_id", "chat_conversations.id"],
            ondelete="CASCADE",
        ),
        Index("idx_chat_messages_conversation", "conversation_id", text("created_at DESC"), text("id DESC")),
        Index("chat_messages_user_idx", "user_id", "conversation_id"),
    )

    user_id: Mapped[UUID]
    conversation_id: Mapped[UUID]
    role: Mapped[MessageRole] = mapped_column(pg_enum(MessageRole, "message_role"))
    content: Mapped[str]
    status: Mapped[MessageStatus] = mapped_column(
        pg_enum(MessageStatus, "message_status"),
        default=MessageStatus.COMPLETED,
        server_default=MessageStatus.COMPLETED.value,
    )
    token_count: Mapped[int | None]
    sources: Mapped[list[dict[str, Any]]] = mapped_column(
        ARRAY(JSONB), default=list, server_default=text("'{}'")
    )
    function_calls: Mapped[dict[str, Any] | None]
    # Question and answer may be stored by one transaction: its one now() would not order them.
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.clock_timestamp(), server_onupdate=FetchedValue(), sort_order=91
    )

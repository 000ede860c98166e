"""Answers on their way: one run a question."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum


class RunStatus(StrEnum):
    """How far a run is. The first two are on their way, all others final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"


ACTIVE_RUNS = (RunStatus.QUEUED, RunStatus.RUNNING)


class ChatRun(Keyed, Stamped, Base):
    """The making of one answer. `user_message_id` is the question, `assistant_message_id` the message under
    which the answer is stored when it ends, in whatever way. `error` holds `code`, `title`, `status` and
    `detail` of what broke it off. `idempotency_key` is the client's, once in a conversation. `user_id` is a
    copy, which the composite foreign key keeps true.
    """

    __tablename__ = "chat_runs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["chat_conversations.user_id", "chat_conversations.id"],
            ondelete="CASCADE",
        ),
        Index("chat_runs_conversation_idx", "user_id", "conversation_id", text("created_at DESC")),
        Index(
            "chat_runs_key_idx",
            "conversation_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    user_id: Mapped[UUID]
    conversation_id: Mapped[UUID]
    user_message_id: Mapped[UUID]
    assistant_message_id: Mapped[UUID]
    model: Mapped[str]
    status: Mapped[RunStatus] = mapped_column(
        pg_enum(RunStatus, "run_status"), default=RunStatus.QUEUED, server_default=RunStatus.QUEUED.value
    )
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    idempotency_key: Mapped[str | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

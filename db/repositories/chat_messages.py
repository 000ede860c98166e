"""Messages of conversations. Triggers keep the conversation's `message_count` and `last_message_at`."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from little_monster.db.base import new_id
from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.reads import ReadQuery
from little_monster.db.repositories.rows import After, Rows, insert, newest_page, page_values
from little_monster.db.session import Session, Source


async def add(
    session: Session,
    *,
    user_id: UUID,
    conversation_id: UUID,
    role: MessageRole,
    content: str,
    status: MessageStatus = MessageStatus.COMPLETED,
    token_count: int | None = None,
    sources: Sequence[dict[str, Any]] = (),
    message_id: UUID | None = None,
) -> ChatMessage:
    """Insert a message behind all others of the conversation."""
    row = ChatMessage(
        id=message_id or new_id(),
        user_id=user_id,
        conversation_id=conversation_id,
        role=role,
        content=content,
        status=status,
        token_count=token_count,
        sources=[*sources],
    )
    return await insert(session, row)


async def get(session: Source, message_id: UUID) -> ChatMessage | None:
    """Return the message; None also for somebody else's."""
    return await session.get(ChatMessage, message_id)


async def list(
    session: Source, conversation_id: UUID, *, limit: int, after: After = None
) -> Rows[ChatMessage]:
    """Return at most `limit` messages, newest first, behind `after` (`key` of the last one seen)."""
    values = page_values(limit, after, conversation_id=conversation_id)
    return await _page(after is not None).models(session, values)


def key(row: ChatMessage) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def recent(session: Session, conversation_id: UUID, n: int) -> Rows[ChatMessage]:
    """Return the last `n` messages in the order they were said, as a prompt wants them."""
    return (await list(session, conversation_id, limit=n))[::-1]


@cache
def _page(later: bool) -> ReadQuery:
    query = select(ChatMessage).where(ChatMessage.conversation_id == bindparam("conversation_id"))
    return newest_page(query, ChatMessage.created_at, ChatMessage.id, later=later)

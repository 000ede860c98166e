"""Conversations."""

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy import delete as sql_delete

from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.reads import ReadQuery
from little_monster.db.repositories.rows import After, Rows, changed, insert, locked, newest_page, page_values
from little_monster.db.session import Session, Source


async def create(
    session: Session,
    *,
    user_id: UUID,
    title: str,
    context_type: ContextType = ContextType.GENERAL,
    metadata: dict[str, Any] | None = None,
) -> ChatConversation:
    """Insert an empty conversation."""
    row = ChatConversation(user_id=user_id, title=title, context_type=context_type, metadata_=metadata or {})
    return await insert(session, row)


async def get(session: Source, conversation_id: UUID) -> ChatConversation | None:
    """Return the conversation; None also for somebody else's."""
    return await session.get(ChatConversation, conversation_id)


async def lock(session: Session, conversation_id: UUID) -> ChatConversation | None:
    """Return the conversation as `get` does, and let nobody change the row before this transaction ends."""
    return await locked(session, ChatConversation, conversation_id)


async def list(
    session: Source, *, limit: int, after: After = None, context_type: ContextType | None = None
) -> Rows[ChatConversation]:
    """Return at most `limit` conversations, the last active first, behind `after` (`key` of the last one
    seen).
    """
    query = _page(after is not None, context_type is not None)
    return await query.models(session, page_values(limit, after, context_type=context_type))


def key(row: ChatConversation) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.last_message_at, row.id


async def rename(session: Session, conversation_id: UUID, title: str) -> bool:
    """Give it another title; False when there is no such conversation."""
    query = update(ChatConversation).where(ChatConversation.id == conversation_id).values(title=title)
    return await changed(session, query) == 1


async def delete(session: Session, conversation_id: UUID) -> bool:
    """Delete the conversation with its messages; False when there is no such conversation."""
    return (
        await changed(session, sql_delete(ChatConversation).where(ChatConversation.id == conversation_id))
        == 1
    )


@cache
def _page(later: bool, filtered: bool) -> ReadQuery:
    query = select(ChatConversation)
    if filtered:
        query = query.where(ChatConversation.context_type == bindparam("context_type"))
    return newest_page(query, ChatConversation.last_message_at, ChatConversation.id, later=later)

"""Conversations: begin, list, read, change, delete."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage
from little_monster.db.repositories import chat_conversations, chat_messages, chat_runs
from little_monster.db.repositories.rows import change
from little_monster.db.session import Database, Session, Source
from little_monster.platform.errors import NotFound

After = tuple[datetime, UUID] | None
Check = Callable[[ChatConversation], None]

# No conversation has more within the hour that a run is kept for.
_LAST_RUNS = 1_000


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation and a page of its messages, newest first."""

    conversation: ChatConversation
    messages: Sequence[ChatMessage]


async def create_conversation(
    database: Database, owner: UUID, *, title: str | None, context_type: ContextType
) -> ChatConversation:
    """Begin a conversation; without a title the first question will give it one."""
    async with database.session(owner) as session:
        return await chat_conversations.create(
            session, user_id=owner, title=title or "", context_type=context_type
        )


async def list_conversations(
    database: Database, owner: UUID, *, limit: int, after: After, context_type: ContextType | None
) -> list[ChatConversation]:
    """Return at most `limit` conversations, the last active first, behind `after`."""
    find = partial(chat_conversations.list, limit=limit, after=after, context_type=context_type)
    return await database.fetch(owner, find)


async def read_conversation(
    database: Database, owner: UUID, conversation_id: UUID, *, limit: int, after: After
) -> Transcript:
    """Return the conversation with at most `limit` messages behind `after`.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """

    async def find(source: Source) -> Transcript | None:
        conversation = await chat_conversations.get(source, conversation_id)
        if conversation is None:
            return None
        messages = await chat_messages.list(source, conversation_id, limit=limit, after=after)
        return Transcript(conversation, messages)

    transcript = await database.fetch(owner, find)
    if transcript is None:
        raise no_conversation()
    return transcript


async def change_conversation(
    database: Database, owner: UUID, conversation_id: UUID, values: Mapping[str, Any], *, check: Check
) -> ChatConversation:
    """Give the conversation another title, and return it as it is then.

    Raises:
        ProblemError: what `check` raises of the conversation as it is now. Else as `read_conversation`.
    """
    async with database.session(owner) as session:
        conversation = await _lock(session, conversation_id, check)
        await change(session, conversation, values)
    return conversation


async def delete_conversation(
    database: Database, owner: UUID, conversation_id: UUID, *, check: Check
) -> list[UUID]:
    """Delete the conversation with its messages, and return the ids of its last runs, of which more than that
    may be kept. Raises as `change_conversation`."""
    async with database.session(owner) as session:
        await _lock(session, conversation_id, check)
        runs = await chat_runs.list(session, conversation_id, limit=_LAST_RUNS)
        await chat_conversations.delete(session, conversation_id)
    return [run.id for run in runs]


def no_conversation() -> NotFound:
    """Return the error for a conversation that is not there, or somebody else's."""
    return NotFound("There is no such conversation.", code="conversation_not_found")


async def _lock(session: Session, conversation_id: UUID, check: Check) -> ChatConversation:
    conversation = await chat_conversations.lock(session, conversation_id)
    if conversation is None:
        raise no_conversation()
    check(conversation)
    return conversation

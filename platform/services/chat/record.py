"""Stores an answer, whatever becomes of the request that asked for it."""

import asyncio
from uuid import UUID

import structlog

from little_monster.db.base import new_id
from little_monster.db.models.chat_messages import MessageRole, MessageStatus
from little_monster.db.repositories import chat_conversations, chat_messages
from little_monster.db.session import Database
from little_monster.platform.errors import ProblemError
from little_monster.platform.services.chat.answer import Answer
from little_monster.platform.services.chat.conversations import no_conversation
from little_monster.platform.services.chat.events import Failed

_log = structlog.get_logger(__name__)

# An answer that is being stored outlives its request, so somebody must hold the task.
_storing: set[asyncio.Task[None]] = set()


class AnswerRecord:
    """Stores an answer once, with the status that comes first, in one transaction."""

    def __init__(self, database: Database, owner: UUID, conversation_id: UUID, answer: Answer) -> None:
        self._database, self._owner = database, owner
        self._conversation_id, self._answer = conversation_id, answer
        self._task: asyncio.Task[None] | None = None
        self.message_id: UUID = new_id()

    async def complete(self) -> None:
        """Store the whole answer.

        Raises:
            NotFound: the conversation was deleted meanwhile.
            DatabaseUnavailable: the database does not answer.
        """
        await self._once(MessageStatus.COMPLETED)

    async def fail(self, error: ProblemError) -> Failed:
        """Store what there is as failed, and return the event that says why it broke off."""
        await self._quietly(MessageStatus.FAILED)
        return Failed(error)

    async def interrupt(self) -> None:
        """Store what there is as interrupted, unless the answer was stored before."""
        await self._quietly(MessageStatus.INTERRUPTED)

    async def _quietly(self, status: MessageStatus) -> None:
        """Store; an error goes to the log, as the client is being told about another one, or has gone."""
        if self._task is not None and self._task.done():
            return
        try:
            await self._once(status)
        except Exception:
            _log.exception("answer_not_stored")

    async def _once(self, status: MessageStatus) -> None:
        """Store unless that was begun before; a caller that is cancelled meanwhile does not stop it."""
        if self._task is None:
            self._task = asyncio.create_task(self._store(status))
            _storing.add(self._task)
            self._task.add_done_callback(_storing.discard)
        await asyncio.shield(self._task)

    async def _store(self, status: MessageStatus) -> None:
        answer = self._answer
        answer.count()
        async with self._database.session(self._owner) as session:
            if await chat_conversations.get(session, self._conversation_id) is None:
                raise no_conversation()
            await chat_messages.add(
                session,
                user_id=self._owner,
                conversation_id=self._conversation_id,
                role=MessageRole.ASSISTANT,
                content=answer.text,
                status=status,
                token_count=answer.usage().completion_tokens,
                sources=answer.snapshot(),
                message_id=self.message_id,
            )

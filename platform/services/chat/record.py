"""Stores an answer and how its run ended, whatever becomes of who asked for it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from little_monster.db.base import new_id
from little_monster.db.models.chat_messages import MessageRole, MessageStatus
from little_monster.db.models.chat_runs import RunStatus
from little_monster.db.repositories import chat_conversations, chat_messages, chat_runs
from little_monster.db.session import Database
from little_monster.platform.errors import EngineFailed, ProblemError
from little_monster.platform.services.chat.answer import Answer
from little_monster.platform.services.chat.conversations import no_conversation
from little_monster.platform.services.chat.events import Failed

_log = structlog.get_logger(__name__)

# An answer that is being stored outlives its request, so somebody must hold the task.
_storing: set[asyncio.Task[None]] = set()


@dataclass(slots=True)
class RunHandle:
    """A run before it has begun: its ids and the client's key, and whether its owner stopped it since."""

    idempotency_key: str | None = None
    run_id: UUID = field(default_factory=new_id)
    message_id: UUID = field(default_factory=new_id)
    """Of the answer."""
    cancelled: bool = False

    @property
    def broken_off(self) -> RunStatus:
        """How a run ends that does not come to its end."""
        return RunStatus.CANCELLED if self.cancelled else RunStatus.INTERRUPTED


def reason_of(error: ProblemError) -> dict[str, Any]:
    """Return what is stored of the error that broke a run off."""
    return {"code": error.code, "title": error.title, "status": error.status, "detail": error.detail}


class AnswerRecord:
    """Stores an answer once, with the status that comes first, in one transaction."""

    def __init__(
        self, database: Database, owner: UUID, conversation_id: UUID, answer: Answer, run: RunHandle
    ) -> None:
        self._database, self._owner = database, owner
        self._conversation_id, self._answer, self._run = conversation_id, answer, run
        self._task: asyncio.Task[None] | None = None

    async def complete(self) -> None:
        """Store the whole answer.

        Raises:
            NotFound: the conversation was deleted meanwhile.
            DatabaseUnavailable: the database does not answer.
        """
        await self._once(MessageStatus.COMPLETED, RunStatus.COMPLETED)

    async def fail(self, error: ProblemError) -> Failed:
        """Store what there is as failed, and return the event that says why it broke off."""
        await self._quietly(MessageStatus.FAILED, RunStatus.FAILED, reason_of(error))
        return Failed(error)

    async def interrupt(self) -> None:
        """Store what there is as interrupted, unless the answer was stored before."""
        await self._quietly(MessageStatus.INTERRUPTED, self._run.broken_off)

    async def _quietly(
        self, message: MessageStatus, run: RunStatus, error: dict[str, Any] | None = None
    ) -> None:
        """Store; an error goes to the log, as the client is being told about another one, or has gone."""
        if self._task is not None and self._task.done():
            return
        try:
            await self._once(message, run, error)
        except Exception:
            _log.exception("answer_not_stored")

    async def _once(
        self, message: MessageStatus, run: RunStatus, error: dict[str, Any] | None = None
    ) -> None:
        """Store unless that was begun before; a caller that is cancelled meanwhile does not stop it."""
        if self._task is None:
            self._task = asyncio.create_task(self._store(message, run, error))
            _storing.add(self._task)
            self._task.add_done_callback(_storing.discard)
        await asyncio.shield(self._task)

    async def _store(self, message: MessageStatus, run: RunStatus, error: dict[str, Any] | None) -> None:
        answer = self._answer
        answer.count()
        async with self._database.session(self._owner) as session:
            if await chat_conversations.get(session, self._conversation_id) is None:
                raise no_conversation()
            if not await chat_runs.finish(session, self._run.run_id, run, error):
                # Somebody took it for lost, and stored what was seen of it.
                raise EngineFailed("The answer took too long to be stored; ask again.")
            await chat_messages.add(
                session,
                user_id=self._owner,
                conversation_id=self._conversation_id,
                role=MessageRole.ASSISTANT,
                content=answer.text,
                status=message,
                token_count=answer.usage().completion_tokens,
                sources=answer.snapshot(),
                message_id=self._run.message_id,
            )

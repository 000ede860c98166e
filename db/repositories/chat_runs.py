"""Runs: what is on its way to be answered, and how it ended."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, select, update

from little_monster.db.models.chat_runs import ACTIVE_RUNS, ChatRun, RunStatus
from little_monster.db.reads import ReadQuery
from little_monster.db.repositories.rows import After, Rows, changed, insert, newest_page, page_values
from little_monster.db.session import Session, Source


async def create(
    session: Session,
    *,
    run_id: UUID,
    user_id: UUID,
    conversation_id: UUID,
    user_message_id: UUID,
    assistant_message_id: UUID,
    model: str,
    idempotency_key: str | None = None,
) -> ChatRun:
    """Insert a run that has begun.

    Raises:
        DuplicateKey: the conversation has one with this `idempotency_key`.
    """
    row = ChatRun(
        id=run_id,
        user_id=user_id,
        conversation_id=conversation_id,
        user_message_id=user_message_id,
        assistant_message_id=assistant_message_id,
        model=model,
        idempotency_key=idempotency_key,
        status=RunStatus.RUNNING,
        started_at=func.now(),
    )
    return await insert(session, row)


async def get(session: Source, run_id: UUID) -> ChatRun | None:
    """Return the run; None also for somebody else's."""
    return await session.get(ChatRun, run_id)


async def find(session: Source, conversation_id: UUID, idempotency_key: str) -> ChatRun | None:
    """Return the run of a conversation that was asked for with this key."""
    values = {"conversation_id": conversation_id, "idempotency_key": idempotency_key}
    found = await _keyed().models(session, values)
    return found[0] if found else None


async def list(session: Source, conversation_id: UUID, *, limit: int, after: After = None) -> Rows[ChatRun]:
    """Return at most `limit` runs of the conversation, newest first, behind `after` (time and id of the
    last one seen).
    """
    values = page_values(limit, after, conversation_id=conversation_id)
    return await _page(after is not None).models(session, values)


async def finish(
    session: Session, run_id: UUID, status: RunStatus, error: Mapping[str, Any] | None = None
) -> bool:
    """Say how the run ended, once; False when that was said before, or there is no such run."""
    query = (
        update(ChatRun)
        .where(ChatRun.id == run_id, ChatRun.status.in_(ACTIVE_RUNS))
        .values(status=status, error=error, finished_at=func.now())
    )
    return await changed(session, query) == 1


@cache
def _keyed() -> ReadQuery:
    return ReadQuery(
        select(ChatRun).where(
            ChatRun.conversation_id == bindparam("conversation_id"),
            ChatRun.idempotency_key == bindparam("idempotency_key"),
        )
    )


@cache
def _page(later: bool) -> ReadQuery:
    query = select(ChatRun).where(ChatRun.conversation_id == bindparam("conversation_id"))
    return newest_page(query, ChatRun.created_at, ChatRun.id, later=later)

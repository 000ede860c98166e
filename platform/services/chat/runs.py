"""Runs: begun, followed from anywhere, stopped, and ended when their process is lost.

A run goes on when the request that began it has gone, in the process that took it. Other processes, and who
comes back, read it from its log; when that is no longer kept, from the message.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from little_monster.db.errors import DuplicateKey
from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.models.chat_runs import ACTIVE_RUNS, ChatRun, RunStatus
from little_monster.db.repositories import chat_conversations, chat_messages, chat_runs
from little_monster.db.repositories.rows import After
from little_monster.db.session import Source
from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.errors import EngineFailed, InvalidInput, NotFound, Unavailable
from little_monster.platform.resources import Resources
from little_monster.platform.services.chat.ask import ask
from little_monster.platform.services.chat.conversations import no_conversation
from little_monster.platform.services.chat.events import (
    Delta,
    Done,
    Event,
    Failed,
    MessageCompleted,
    RunStarted,
    encode,
)
from little_monster.platform.services.chat.local_run import LocalRun
from little_monster.platform.services.chat.question import Question
from little_monster.platform.services.chat.record import RunHandle, reason_of
from little_monster.platform.services.chat.run_log import LOST_S, Entry, RunLog, lost_runs

_LOST: Final = EngineFailed(
    "The server that wrote this answer stopped; what there is of it is kept. Ask again for a whole one.",
    code="run_lost",
)

_RETRY_S: Final = 5
# Twice as long as a run takes between two signs of life.
_SECOND_LOOK_S: Final = 1.0

_here: dict[UUID, LocalRun] = {}
"""The runs of this process."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that has begun: its entries as they come, and what stops it."""

    run_id: UUID
    entries: AsyncGenerator[Entry, None]
    stop: Callable[[], None]


async def start_run(
    resources: Resources, owner: UUID, question: Question, *, request_id: str, key: str | None = None
) -> Begun:
    """Begin to answer a question, and return when the question is stored. One that was asked before in the
    conversation with the same `key` is not asked again: its run is returned.

    Raises:
        InvalidInput: the key belongs to another question.
        ProblemError: as `ask`.
    """
    if key and (before := await _asked_before(resources, owner, question, key)):
        return before
    try:
        return await _start(resources, owner, question, RunHandle(key), request_id=request_id)
    except DuplicateKey:
        # The same request, at the same time.
        if key and (before := await _asked_before(resources, owner, question, key)):
            return before
        raise


async def _asked_before(resources: Resources, owner: UUID, question: Question, key: str) -> Begun | None:
    async def find(source: Source) -> tuple[ChatRun, ChatMessage | None] | None:
        run = await chat_runs.find(source, question.conversation_id, key)
        return None if run is None else (run, await chat_messages.get(source, run.user_message_id))

    found = await resources.database.fetch(owner, find)
    if found is None:
        return None
    run, asked = found
    if asked is None or asked.content != question.content:
        raise InvalidInput(
            "This Idempotency-Key was used for another question.",
            code="idempotency_key_reused",
            errors=[{"field": "header.Idempotency-Key", "message": "was used for another question"}],
        )
    # To leave the repetition is no reason to stop what the first request asked for.
    return Begun(run.id, follow_run(resources, owner, run.id), _go_on)


def _go_on() -> None:
    """Stop nothing."""


async def _start(
    resources: Resources, owner: UUID, question: Question, handle: RunHandle, *, request_id: str
) -> Begun:
    log = RunLog(resources.redis, owner, handle.run_id)
    events = ask(resources, owner, question, handle, request_id=request_id)
    run = LocalRun(events, handle, log, request_id=request_id)
    _here[handle.run_id] = run
    task = resources.background.hold(run.execute())
    task.add_done_callback(lambda _: _here.pop(handle.run_id, None))
    await run.began()
    return Begun(handle.run_id, run.follow(0), run.stop)


async def get_run(resources: Resources, owner: UUID, run_id: UUID) -> ChatRun:
    """Return the run; one whose process is lost has ended then.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    run = await _read(resources, owner, run_id)
    if run.status in ACTIVE_RUNS and run_id not in _here and not await _is_alive(resources, owner, run_id):
        await end_lost_run(resources, owner, run_id)
        run = await _read(resources, owner, run_id)
    return run


async def list_runs(
    resources: Resources, owner: UUID, conversation_id: UUID, *, limit: int, after: After
) -> list[ChatRun]:
    """Return at most `limit` runs of a conversation, newest first, behind `after`.

    Raises:
        NotFound: no such conversation.
    """

    async def find(source: Source) -> list[ChatRun] | None:
        if await chat_conversations.get(source, conversation_id) is None:
            return None
        return await chat_runs.list(source, conversation_id, limit=limit, after=after)

    found = await resources.database.fetch(owner, find)
    if found is None:
        raise no_conversation()
    return found


async def follow_run(
    resources: Resources, owner: UUID, run_id: UUID, *, after: int = 0
) -> AsyncGenerator[Entry, None]:
    """Yield the entries of a run behind number `after` as they come, to the last one.

    Raises:
        NotFound: there is none, or it is somebody else's; before the first entry.
        Unavailable: it runs elsewhere, and Redis does not answer.
    """
    await get_run(resources, owner, run_id)
    if (run := _here.get(run_id)) is not None:
        async for entry in run.follow(after):
            yield entry
        return
    log = RunLog(resources.redis, owner, run_id)
    while True:
        entries = await _logged(log, after)
        for entry in entries:
            after = entry.number
            yield entry
            if entry.is_last:
                return
        if not entries and (row := await get_run(resources, owner, run_id)).status not in ACTIVE_RUNS:
            # What was written between the two looks comes with the next one.
            if await _logged(log, after):
                continue
            for entry in await _retold(resources, owner, row, after):
                yield entry
            return


async def stop_run(resources: Resources, owner: UUID, run_id: UUID) -> ChatRun:
    """Stop a run, wherever it is, and return it; one that has ended stays as it is.

    Raises:
        NotFound: there is none, or it is somebody else's.
        Unavailable: it runs elsewhere, and Redis does not answer.
    """
    run = await get_run(resources, owner, run_id)
    if run.status not in ACTIVE_RUNS:
        return run
    if (here := _here.get(run_id)) is not None:
        here.stop()
    else:
        try:
            await RunLog(resources.redis, owner, run_id).ask_to_stop()
        except REDIS_AWAY as error:
            raise _away() from error
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOST_S):
            async for _ in follow_run(resources, owner, run_id):
                pass
    return await get_run(resources, owner, run_id)


async def forget_conversation(resources: Resources, owner: UUID, runs: Sequence[UUID]) -> None:
    """Remove what is kept of the runs of a conversation that is deleted; with Redis away it expires."""
    try:
        for run_id in runs:
            await RunLog(resources.redis, owner, run_id).forget()
    except REDIS_AWAY as error:
        _log.warning("runs_not_forgotten", error=type(error).__name__)


async def end_lost_runs_forever(resources: Resources) -> None:
    """End the runs of processes that were killed, whoever follows them or not."""
    while True:
        await asyncio.sleep(LOST_S)
        try:
            for owner, run_id in await lost_runs(resources.redis):
                await end_lost_run(resources, owner, run_id)
        except Exception as error:
            _log.warning("lost_runs_not_ended", error=type(error).__name__)


async def end_lost_run(resources: Resources, owner: UUID, run_id: UUID) -> None:
    """Store what a lost run wrote, as interrupted, and tell who follows it. Of several callers one does.

    After Redis itself was away every run looks lost for a moment: a second look tells them apart.
    """
    await asyncio.sleep(_SECOND_LOOK_S)
    log = RunLog(resources.redis, owner, run_id)
    if await _is_alive(resources, owner, run_id):
        return
    try:
        entries = await log.read(0)
    except REDIS_AWAY:
        entries = []
    async with resources.database.session(owner) as session:
        ended = await chat_runs.finish(session, run_id, RunStatus.INTERRUPTED, reason_of(_LOST))
        row = await chat_runs.get(session, run_id) if ended else None
        if row is not None:
            await chat_messages.add(
                session,
                user_id=owner,
                conversation_id=row.conversation_id,
                role=MessageRole.ASSISTANT,
                content=_text(entries),
                status=MessageStatus.INTERRUPTED,
                sources=_sources(entries),
                message_id=row.assistant_message_id,
            )
    with contextlib.suppress(*REDIS_AWAY):
        if ended and entries and not entries[-1].is_last:
            number = entries[-1].number + 1
            await log.append([Entry(number, Failed.name, encode(Failed(_LOST), request_id=""))])
        await log.close()


def _text(entries: list[Entry]) -> str:
    return "".join(orjson.loads(one.data)["text"] for one in entries if one.name == Delta.name)


def _sources(entries: list[Entry]) -> list[dict[str, Any]]:
    """Return what `Answer.snapshot` would have."""
    sources: dict[int, dict[str, Any]] = {}
    for one in entries:
        data = orjson.loads(one.data)
        if one.name == "sources":
            sources = {source["number"]: {**source, "citations": []} for source in data["sources"]}
        elif one.name == "citation":
            names = ("quote", "start", "end", "answer_start", "answer_end")
            sources[data["number"]]["citations"].append({name: data[name] for name in names})
    return [*sources.values()]


async def _retold(resources: Resources, owner: UUID, run: ChatRun, after: int) -> list[Entry]:
    """Return a run that ended as entries, its text in one piece; only how it ended to a reader who had more
    than the first one, as numbers are others now."""
    message = await resources.database.fetch(
        owner, partial(chat_messages.get, message_id=run.assistant_message_id)
    )
    entries = [Entry(number, *one) for number, one in enumerate(_retelling(run, message), 1)]
    return entries if after <= 1 else entries[-1:]


def _retelling(run: ChatRun, message: ChatMessage | None) -> Iterator[tuple[str, bytes]]:
    begun = RunStarted(run.id, run.conversation_id, run.user_message_id, run.assistant_message_id)
    told: list[Event] = [begun]
    if message is not None and message.content:
        told.append(Delta(message.content))
    if run.status == RunStatus.COMPLETED:
        told.append(MessageCompleted(run.assistant_message_id, None))
    yield from ((one.name, encode(one, "")) for one in told)
    if run.error:
        kind = f"urn:little-monster:problem:{run.error['code']}"
        yield Failed.name, orjson.dumps({"type": kind, **run.error, "errors": [], "request_id": ""})
    else:
        yield Done.name, encode(Done(run.id, run.status), "")


async def _read(resources: Resources, owner: UUID, run_id: UUID) -> ChatRun:
    run = await resources.database.fetch(owner, partial(chat_runs.get, run_id=run_id))
    if run is None:
        raise NotFound("There is no such run.", code="run_not_found")
    return run


async def _is_alive(resources: Resources, owner: UUID, run_id: UUID) -> bool:
    try:
        return await RunLog(resources.redis, owner, run_id).is_alive()
    except REDIS_AWAY:
        # Nothing is known of other processes: nothing is declared lost.
        return True


async def _logged(log: RunLog, after: int) -> list[Entry]:
    try:
        return await log.read(after, wait=True)
    except REDIS_AWAY as error:
        raise _away() from error


def _away() -> Unavailable:
    return Unavailable("The run cannot be reached just now; try again in a moment.", retry_after_s=_RETRY_S)

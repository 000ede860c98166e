"""Answer a question, event by event: what a run does."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import structlog

from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.chat_runs import RunStatus
from little_monster.platform.engines.protocols import ChatRequest
from little_monster.platform.errors import ProblemError, Unavailable
from little_monster.platform.resources import Resources
from little_monster.platform.services.chat.answer import Answer
from little_monster.platform.services.chat.events import (
    Done,
    Event,
    MessageCompleted,
    RunStarted,
    SourcesFound,
)
from little_monster.platform.services.chat.prompt import Prompt, build_prompt
from little_monster.platform.services.chat.question import (
    Question,
    check_length,
    load_background,
    moderate_and_search,
    store_question,
)
from little_monster.platform.services.chat.record import AnswerRecord, RunHandle
from little_monster.platform.services.completions import choose_model, metric_label, open_stream
from little_monster.platform.settings import ChatSettings

_log = structlog.get_logger(__name__)


async def ask(
    resources: Resources, owner: UUID, question: Question, run: RunHandle, *, request_id: str
) -> AsyncGenerator[Event, None]:
    """Yield what happens while the question is answered (`events`), a terminal `Done` or `Failed` last.

    Closing it early aborts the engine and stores what there is of the answer. No transaction is open while
    the answer streams.

    Raises:
        InvalidInput: the question is too long; always before the first event, as are the others.
        NotFound: no such conversation, document or model.
        ContentRefused: moderation refuses the question.
        Unavailable: a part that is needed does not answer.
        DuplicateKey: the question is answered already, by a run with the same key.
    """
    asked_at = time.perf_counter()
    check_length(question.content, resources.settings.api.max_question_chars)
    model_name, model = choose_model(resources.chat_models, question.model)
    background = await load_background(resources, owner, question)
    passages = await moderate_and_search(resources, owner, question)
    prompt = build_prompt(question.content, passages, background.turns)
    request = _request(resources.settings.chat, model_name, prompt, request_id)
    answer = Answer(prompt, model=metric_label(model_name), asked_at=asked_at)
    record = AnswerRecord(resources.database, owner, question.conversation_id, answer, run)
    asked = await store_question(resources, owner, question, background, run=run, model=model_name)
    try:
        yield RunStarted(run.run_id, question.conversation_id, asked, run.message_id)
        yield SourcesFound(answer.sources)
        async with aclosing(open_stream(model, request)) as stream:
            async for frames in stream:
                for event in answer.read(frames):
                    yield event
        for citation in answer.finish():
            yield citation
        await record.complete()
        yield answer.usage()
        yield MessageCompleted(run.message_id, answer.finish_reason)
        yield Done(run.run_id, RunStatus.COMPLETED)
    except ProblemError as error:
        yield await record.fail(error)
    except DatabaseUnavailable:
        yield await record.fail(Unavailable("The answer could not be stored."))
    except Exception:
        _log.exception("answer_failed")
        yield await record.fail(ProblemError("Something went wrong on our side."))
    finally:
        await record.interrupt()


def _request(settings: ChatSettings, model: str, prompt: Prompt, request_id: str) -> ChatRequest:
    body: dict[str, Any] = {
        "messages": prompt.messages,
        "max_tokens": settings.max_answer_tokens,
        "temperature": settings.temperature,
        "frequency_penalty": settings.frequency_penalty,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return ChatRequest(model, body, request_id)

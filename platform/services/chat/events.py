"""What happens while an answer is made, in the order a client sees it.

    run.started, sources, (delta | citation)*, usage, message.completed, done

`error`, or the `done` of a run that was stopped, may come at any place after `run.started`; nothing comes
after `done` or `error`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from little_monster.db.models.chat_runs import RunStatus
from little_monster.platform.errors import ProblemError
from little_monster.platform.json_bytes import to_json


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The question is stored; the answer will be stored under `assistant_message_id`."""

    name: ClassVar[str] = "run.started"
    run_id: UUID
    conversation_id: UUID
    user_message_id: UUID
    assistant_message_id: UUID


@dataclass(frozen=True, slots=True)
class Source:
    """A passage the answer may rest on; `number` is what `[n]` in the answer means."""

    number: int
    chunk_id: UUID
    document_id: UUID
    title: str
    page: int | None
    headings: tuple[str, ...]
    content: str
    score: float


@dataclass(frozen=True, slots=True)
class SourcesFound:
    """All passages that were given to the model, best first."""

    name: ClassVar[str] = "sources"
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of the answer."""

    name: ClassVar[str] = "delta"
    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence of the answer and the exact words that support it.

    `start`/`end` are character offsets into the document's extracted text (`text[start:end] == quote`);
    `answer_start`/`answer_end` are character offsets into the answer so far.
    """

    name: ClassVar[str] = "citation"
    number: int
    document_id: UUID
    title: str
    page: int | None
    quote: str
    start: int
    end: int
    answer_start: int
    answer_end: int


@dataclass(frozen=True, slots=True)
class UsageCounted:
    """Tokens as the engine counted them; time from the question's arrival to the first text of the answer."""

    name: ClassVar[str] = "usage"
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    time_to_first_token_ms: float | None


@dataclass(frozen=True, slots=True)
class MessageCompleted:
    """The answer is whole and stored. `finish_reason` is the engine's (`stop`, `length`, ...), None of a run
    whose events are no longer kept."""

    name: ClassVar[str] = "message.completed"
    message_id: UUID
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over, and what there is of its answer is stored: all of it where it is `completed`."""

    name: ClassVar[str] = "done"
    run_id: UUID
    status: RunStatus


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer broke off; what there is of it is stored as `failed`."""

    name: ClassVar[str] = "error"
    problem: ProblemError


Event = RunStarted | SourcesFound | Delta | Citation | UsageCounted | MessageCompleted | Done | Failed


def encode(event: Event, request_id: str) -> bytes:
    """Return an event's data as JSON; that of an error is a problem (RFC 9457)."""
    data = problem(event.problem, request_id) if isinstance(event, Failed) else event
    return to_json(data)


def problem(error: ProblemError, request_id: str) -> dict[str, Any]:
    """Return the fields of a problem."""
    return {
        "type": f"urn:little-monster:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "errors": error.errors,
        "request_id": request_id,
    }

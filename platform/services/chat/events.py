"""What happens while an answer is made, in the order a client sees it.

    message, sources, (delta | citation)*, usage, done

`error` may come at any place after `message`; nothing comes after `done` or `error`.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from little_monster.platform.errors import ProblemError


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """The question is stored; the answer will be stored under `assistant_message_id`."""

    name: ClassVar[str] = "message"
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
class Done:
    """The answer is complete and stored. `finish_reason` is the engine's (`stop`, `length`, ...)."""

    name: ClassVar[str] = "done"
    message_id: UUID
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer broke off; what there is of it is stored as `failed`."""

    name: ClassVar[str] = "error"
    problem: ProblemError


Event = MessageStarted | SourcesFound | Delta | Citation | UsageCounted | Done | Failed

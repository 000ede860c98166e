"""What the services need of models and indexes; who gives it is decided where the graph is bound."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from little_monster.db.vectors.index import EVERYTHING, SearchFilter


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One completion to make; `body` is an OpenAI `chat.completions` request (messages, max_tokens,
    temperature, ...)."""

    model: str
    body: dict[str, Any]
    request_id: str


class ChatModel(Protocol):
    """A chat model that speaks OpenAI's chat completion format."""

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """Return one whole `chat.completion` object.

        Raises:
            InvalidInput: the model refuses the request (too long, unknown parameter).
            EngineFailed: the engine failed.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        """Yield server-sent event text, one or more whole ``data: {chat.completion.chunk}\\n\\n`` frames at
        a time, the last ``data: [DONE]\\n\\n``. Closing the iterator aborts the request in the engine.

        Raises:
            InvalidInput: the model refuses the request; always before the first frame.
            EngineFailed: the engine failed, perhaps after some frames.
        """
        ...

    async def check(self) -> None:
        """Return when the model can answer; raise `Unavailable` when not."""
        ...


Mark = tuple[float, float, float, float]
"""A rectangle on a page: left, bottom, right, top, in points from its lower left corner."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page to render: its number from 1, how wide in pixels, as `png` or `webp`, and what to mark on it."""

    page: int
    width: int
    form: str
    marks: tuple[Mark, ...] = ()


class PageRenderer(Protocol):
    """Makes images of the pages of a PDF, which may be hostile."""

    async def render(self, pdf: AsyncIterator[bytes], request: PageRequest) -> bytes:
        """Return the image; a page that would be larger than is allowed comes out narrower.

        Raises:
            NotFound: it has no such page (`page_not_found`).
            Conflict: it cannot be rendered (`page_not_rendered`).
            Unavailable: too many want one.
        """
        ...


class Embedder(Protocol):
    """Turns texts into vectors of length 1, by one of several models.

    `source` names the model as `EmbedderInfo.source` does; empty, it is the one that is configured.
    """

    async def describe(self, source: str = "") -> "EmbedderInfo":
        """Say which model this is."""
        ...

    async def load(self, source: str) -> None:
        """Have a model ready before its first texts come.

        Raises:
            ConfigurationError: there is no such model.
        """
        ...

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        """Return one vector (``dimension`` floats, L2 norm 1) a text, in order.

        Args:
            texts: each is read up to `EmbedderInfo.max_tokens`.
            source: the model.
            urgent: somebody waits for it: it goes before whatever is not.
        """
        ...


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """`source` resolves to the model's files (`engines.models.resolve_model`); `dimension` floats a vector;
    `max_tokens` that the model reads of a text, special tokens included."""

    model: str
    source: str
    dimension: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class ModerationResult:
    """`scores` by category, each 0 to 1; `flagged` when one passes its threshold."""

    flagged: bool
    scores: dict[str, float]
    categories: tuple[str, ...] = ()


class Moderator(Protocol):
    """Classifies texts by harm."""

    async def classify(self, texts: Sequence[str]) -> list[ModerationResult]:
        """Return one result a text, in order."""
        ...


Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that answers a query, with where it stands.

    `start`/`end` are character offsets into the document's extracted text; `page` is 1-based, None where
    there are no pages. `score` is 0 to 1, and compares passages of one search only. `matches` are
    the words of the query, `quote` the sentence that answers it best, as (start, end) in `content`.
    """

    chunk_id: UUID
    document_id: UUID
    document_title: str
    content: str
    score: float
    page: int | None
    page_end: int | None
    start: int
    end: int
    headings: tuple[str, ...] = ()
    matches: tuple[Span, ...] = ()
    quote: Span | None = None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What else is asked of a search: which passages, how many best ones are passed over, and how many of one
    document are given at most (None: any number)."""

    where: SearchFilter = EVERYTHING
    offset: int = 0
    per_document: int | None = None


PLAIN = SearchOptions()


class Reranker(Protocol):
    """Reads a query and each of some texts together, which is slower and more exact than a search."""

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text answers the query, 0 to 1, in order."""
        ...


class Retriever(Protocol):
    """Finds passages of one owner, and nobody else's."""

    async def search(
        self,
        owner: UUID,
        query: str,
        *,
        limit: int,
        document_ids: Sequence[UUID] = (),
        options: SearchOptions = PLAIN,
    ) -> list[Passage]:
        """Return at most `limit` passages, best first, of all documents or only of `document_ids`."""
        ...

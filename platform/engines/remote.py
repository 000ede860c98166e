"""The engine protocols over anything whose methods are called as `handle.method.remote(...)`.

Ray Serve's handles are such things, but nothing here imports Ray: the API and the pipelines, which may not
import each other's rooms, wrap their handles in the same classes.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any
from uuid import UUID

from little_monster.db.vectors.index import EVERYTHING, Hit, Point, Query, SearchFilter
from little_monster.db.vectors.stored import StoredPoint
from little_monster.platform.engines.protocols import (
    PLAIN,
    ChatRequest,
    EmbedderInfo,
    ModerationResult,
    Passage,
    SearchOptions,
)
from little_monster.platform.errors import (
    ConfigurationError,
    EngineFailed,
    InvalidInput,
    NotFound,
    Unavailable,
)

Failures = tuple[type[BaseException], ...]
"""Exceptions of the transport that mean: nobody there, ask again later."""

RETRY_AFTER_S = 5


class _Remote:
    def __init__(self, handle: Any, *, name: str, failures: Failures) -> None:
        self._handle, self._name, self._failures = handle, name, failures

    async def _call(self, method: str, *args: Any) -> Any:
        with self._translated():
            return await getattr(self._handle, method).remote(*args)

    @contextmanager
    def _translated(self) -> Any:
        try:
            yield
        except ConfigurationError as error:
            # Nothing is away: asking again would end the same. The transport's copy keeps the error.
            raise getattr(error, "cause", error) from None
        except self._failures as error:
            raise Unavailable(
                f"The {self._name} service does not answer.",
                code=f"{self._name}_unavailable",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    async def check(self) -> None:
        """Return when the other side is ready; raise `Unavailable` when not."""
        await self._call("ready")


class RemoteEmbedder(_Remote):
    """An `Embedder` behind a handle with `describe(source)`, `load(source)` and `embed(texts, source, urgent)
    -> array (n, dimension)`."""

    def __init__(self, handle: Any, *, failures: Failures) -> None:
        super().__init__(handle, name="embedding", failures=failures)
        self._infos: dict[str, EmbedderInfo] = {}

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is; asked once, as another configuration is a new graph."""
        if source not in self._infos:
            self._infos[source] = await self._call("describe", source)
        return self._infos[source]

    async def load(self, source: str) -> None:
        """Have a model ready before its first texts come."""
        await self._call("load", source)

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        """Return one vector a text."""
        if not texts:
            return []
        vectors: list[list[float]] = (await self._call("embed", list(texts), source, urgent)).tolist()
        return vectors


class RemoteModerator(_Remote):
    """A `Moderator` behind a handle with `classify(texts)`."""

    def __init__(self, handle: Any, *, failures: Failures) -> None:
        super().__init__(handle, name="moderation", failures=failures)

    async def classify(self, texts: Sequence[str]) -> list[ModerationResult]:
        """Return one result a text."""
        results: list[ModerationResult] = await self._call("classify", list(texts))
        return results


class RemoteRetriever(_Remote):
    """A `Retriever` behind a handle with `find(owner, query, limit, document_ids, options)`."""

    def __init__(self, handle: Any, *, failures: Failures) -> None:
        super().__init__(handle, name="retrieval", failures=failures)

    async def search(
        self,
        owner: UUID,
        query: str,
        *,
        limit: int,
        document_ids: Sequence[UUID] = (),
        options: SearchOptions = PLAIN,
    ) -> list[Passage]:
        """Return at most `limit` passages of `owner`, best first."""
        passages: list[Passage] = await self._call("find", owner, query, limit, tuple(document_ids), options)
        return passages


class RemoteVectorIndex(_Remote):
    """A `VectorIndex` behind a handle: the embedded index lives in one replica and is reached through it
    alone.

    Args:
        collection: name and dimension of one; None: the live one, whichever it is.
    """

    def __init__(self, handle: Any, *, failures: Failures, collection: tuple[str, int] | None = None) -> None:
        super().__init__(handle, name="retrieval", failures=failures)
        self._collection = collection

    async def _call(self, method: str, *args: Any) -> Any:
        if self._collection is None:
            return await super()._call("on_index", method, args)
        return await super()._call("on_collection", *self._collection, method, args)

    async def check(self) -> None:
        """Return when the index answers; raise `Unavailable` when not."""
        await self._call("check")

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write points; writing them again changes nothing."""
        await self._call("upsert", list(points))

    async def search(
        self, owner: UUID, query: Query, *, limit: int, where: SearchFilter = EVERYTHING
    ) -> list[Hit]:
        """Return at most `limit` points of `owner`, best first."""
        hits: list[Hit] = await self._call("search", owner, query, limit, where)
        return hits

    async def set_payload(self, owner: UUID, document_id: UUID, values: Mapping[str, Any]) -> None:
        """Give the payload of a document's points other values."""
        await self._call("set_payload", owner, document_id, dict(values))

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """Remove every point of a document."""
        await self._call("delete_document", owner, document_id)

    async def delete_owner(self, owner: UUID) -> None:
        """Remove every point of an owner."""
        await self._call("delete_owner", owner)

    async def delete(self, owner: UUID, ids: Sequence[UUID]) -> None:
        """Remove those of the points that are the owner's."""
        await self._call("delete", owner, list(ids))

    async def scan(self, after: UUID | None, limit: int) -> list[StoredPoint]:
        """Return at most `limit` points of all owners behind the id `after`."""
        points: list[StoredPoint] = await self._call("scan", after, limit)
        return points

    async def count(self, owner: UUID, document_id: UUID | None = None) -> int:
        """Count the points of an owner, or of one document."""
        total: int = await self._call("count", owner, document_id)
        return total

    async def close(self) -> None:
        """Nothing: the replica owns the index."""


class RemoteCollections(_Remote):
    """`Collections` behind a handle, of the replica that has the embedded ones."""

    def __init__(self, handle: Any, *, failures: Failures) -> None:
        super().__init__(handle, name="retrieval", failures=failures)

    def open(self, name: str, dimension: int) -> RemoteVectorIndex:
        """Return a collection, which its first call makes when it is missing."""
        return RemoteVectorIndex(self._handle, failures=self._failures, collection=(name, dimension))

    async def publish(self, name: str, dimension: int, *, alias: str) -> None:
        """Nothing: nobody else reads the replica's folder."""

    async def drop(self, name: str, dimension: int) -> None:
        """Remove a collection with all that it holds; a missing one is fine."""
        await self._call("drop_collection", name, dimension)

    async def close(self) -> None:
        """Nothing: the replica owns them."""


class ChatBody(dict[str, Any]):
    """The body of a chat completion, whose messages a router that sends alike prompts to one replica can
    read as it reads those of an OpenAI request."""

    @property
    def messages(self) -> Any:
        """What is asked."""
        return self.get("messages")


class RemoteChatModel(_Remote):
    """A `ChatModel` behind a handle whose `generate(body)` streams.

    What `generate` yields: text frames of server-sent events, or one `{"response": {...}}`, or one
    `{"error": {...}}` with OpenAI's fields (`message`, `type`, `param`, `code`).
    """

    def __init__(self, handle: Any, *, ready: Callable[[], Awaitable[Any]], failures: Failures) -> None:
        super().__init__(handle, name="llm", failures=failures)
        self._ready = ready

    async def check(self) -> None:
        """Return when a replica's engine answers."""
        with self._translated():
            await self._ready()

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """Return one whole completion."""
        async with aclosing(self._items(request, stream=False)) as items:
            async for item in items:
                response: dict[str, Any] = item["response"]
                return response
        raise EngineFailed("The model gave no answer.")

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        """Yield frames as they come."""
        async with aclosing(self._items(request, stream=True)) as items:
            async for item in items:
                yield item

    async def _items(self, request: ChatRequest, *, stream: bool) -> AsyncGenerator[Any, None]:
        body = ChatBody(request.body, model=request.model, stream=stream, request_id=request.request_id)
        if not stream:
            body.pop("stream_options", None)
        response = self._handle.generate.remote(body)
        try:
            with self._translated():
                async for item in response:
                    if isinstance(item, dict) and "error" in item:
                        raise _engine_error(item["error"])
                    yield item
        finally:
            # Cancelling a finished call does nothing; cancelling a running one aborts it in the engine.
            response.cancel()


def _engine_error(error: dict[str, Any]) -> Exception:
    message, code = str(error.get("message", "")), error.get("code")
    if code == 404:
        return NotFound(message, code="model_not_found")
    if isinstance(code, int) and 400 <= code < 500:
        return InvalidInput(message, code="invalid_request")
    return EngineFailed("The model failed to answer.")

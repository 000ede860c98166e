"""Models behind any endpoint that speaks OpenAI's API: Ollama, llama.cpp's server, vLLM, OpenAI itself."""

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from little_monster.platform.engines.protocols import ChatRequest, EmbedderInfo
from little_monster.platform.errors import (
    ConfigurationError,
    EngineFailed,
    InvalidInput,
    ProblemError,
    Unavailable,
)

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0
"""Between two parts of an answer: a model on a CPU may read a long prompt for minutes before its first
token."""
CHECK_TIMEOUT_S = 5.0
RETRY_AFTER_S = 5
EMBEDDING_BATCH = 64
LONGEST_FRAME_BYTES = 2**20
KEEPALIVE_S = 2.0
"""Shorter than what servers keep an idle connection for (uvicorn 5 s), so that a request never meets one that
is just being closed."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
_CHECK_TIMEOUT = aiohttp.ClientTimeout(total=CHECK_TIMEOUT_S)

_REFUSED = frozenset({400, 413, 422})
_BUSY = frozenset({408, 429, 503})


class _Endpoint:
    """One endpoint, its client opened with the first request, so that it belongs to the loop that uses it."""

    def __init__(self, base_url: str, api_key: str | None) -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # How many may run at once is the deployment's to say (`max_ongoing_requests`).
            self._session = aiohttp.ClientSession(
                base_url=self._base_url,
                headers=self._headers,
                timeout=_TIMEOUT,
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                trust_env=True,
            )
        return self._session

    async def check(self) -> None:
        """Return when the endpoint answers; raise `Unavailable` when not."""
        with _translated():
            async with self.session.get("models", timeout=_CHECK_TIMEOUT) as response:
                _raise_for(response.status, await response.read())

    async def post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        with _translated():
            async with self.session.post(path, json=body, headers=headers) as response:
                content = await response.read()
        _raise_for(response.status, content)
        try:
            return json.loads(content)
        except ValueError:
            raise EngineFailed("The model's endpoint answered with something that is not JSON.") from None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class OpenAIChatModel:
    """A `ChatModel` behind an endpoint.

    Args:
        base_url: address up to and with `/v1`.
        api_key: sent as bearer token; None sends none.
        model: the endpoint's own name of the model.
    """

    def __init__(self, base_url: str, api_key: str | None, model: str) -> None:
        self._endpoint = _Endpoint(base_url, api_key)
        self._model = model

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """Return one whole `chat.completion`. Raises as `stream`."""
        body = {**request.body, "model": self._model, "stream": False}
        body.pop("stream_options", None)
        completion: dict[str, Any] = await self._endpoint.post("chat/completions", body, _traced(request))
        return completion

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Yield whole frames as they come; closing this closes the connection, which aborts the request
        there.

        Raises:
            InvalidInput: the endpoint refuses the request.
            Unavailable: nobody is there, or it is busy.
            EngineFailed: it failed, or broke off in the middle.
        """
        body = {**request.body, "model": self._model, "stream": True}
        call = self._endpoint.session.post("chat/completions", json=body, headers=_traced(request))
        with _translated():
            async with call as response:
                if response.status != HTTPStatus.OK:
                    _raise_for(response.status, await response.read())
                async for frames in _whole_frames(response.content.iter_any()):
                    yield frames

    async def check(self) -> None:
        """Return when the endpoint answers; raise `Unavailable` when not."""
        await self._endpoint.check()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()


class OpenAIEmbedder:
    """An `Embedder` behind an endpoint.

    Args:
        base_url: address up to and with `/v1`.
        api_key: sent as bearer token; None sends none.
        info: what the operator says of the model; `info.model` is the endpoint's name of it.
    """

    def __init__(self, base_url: str, api_key: str | None, info: EmbedderInfo) -> None:
        self._endpoint = _Endpoint(base_url, api_key)
        self._info = info

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is.

        Raises:
            ConfigurationError: it is not the one that the operator told of.
        """
        if source not in ("", self._info.source, self._info.model):
            raise ConfigurationError(f"embedding model {source}: the endpoint serves {self._info.model}")
        return self._info

    async def load(self, source: str) -> None:
        """Return when the model is the endpoint's. Raises as `describe`."""
        await self.describe(source)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        source: str = "",
        urgent: bool = False,  # noqa: ARG002  What goes first is the endpoint's to say.
    ) -> list[list[float]]:
        """Return one vector a text, brought to length 1.

        Raises:
            ConfigurationError: as `describe`.
            InvalidInput: the endpoint refuses the texts.
            EngineFailed: it failed, or its vectors are not of the dimension that was configured.
        """
        await self.describe(source)
        vectors: list[list[float]] = []
        for start in range(0, len(texts), EMBEDDING_BATCH):
            vectors += await self._embed_batch(texts[start : start + EMBEDDING_BATCH])
        return vectors

    async def check(self) -> None:
        """Return when the endpoint answers; raise `Unavailable` when not."""
        await self._endpoint.check()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def _embed_batch(self, texts: Sequence[str]) -> list[list[float]]:
        body = {"model": self._info.model, "input": list(texts), "encoding_format": "float"}
        answer = await self._endpoint.post("embeddings", body)
        try:
            items = sorted(answer["data"], key=lambda item: item["index"])
            vectors = [_of_length_one(item["embedding"]) for item in items]
        except (KeyError, TypeError):
            raise EngineFailed("The embedding endpoint answered in an unknown format.") from None
        if len(vectors) != len(texts) or any(len(one) != self._info.dimension for one in vectors):
            raise EngineFailed(f"The embedding endpoint did not answer {self._info.dimension} floats a text.")
        return vectors


async def _whole_frames(parts: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Join the parts of a response into whole frames that begin with `data: `.

    Comments, other fields and other line ends, in which servers differ, are taken out.
    """
    rest, ended = b"", False
    async for part in parts:
        whole, border, rest = (rest + part).replace(b"\r\n", b"\n").rpartition(b"\n\n")
        if len(rest) > LONGEST_FRAME_BYTES:
            raise EngineFailed("The model's endpoint answered in an unknown format.")
        frames = "".join(map(_clean, whole.decode(errors="replace").split("\n\n"))) if border else ""
        if frames:
            ended = ended or frames.endswith("[DONE]\n\n")
            yield frames
    if not ended:
        raise EngineFailed("The model's answer broke off.")


def _clean(frame: str) -> str:
    lines = [line[5:].lstrip() for line in frame.split("\n") if line.startswith("data:")]
    return f"data: {''.join(lines)}\n\n" if lines else ""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unavailable(
            "The model's endpoint does not answer.", code="llm_unavailable", retry_after_s=RETRY_AFTER_S
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineFailed("The connection to the model's endpoint broke.") from error


def _raise_for(status: int, content: bytes) -> None:
    if status >= HTTPStatus.BAD_REQUEST:
        raise _error_of(status, content)


def _error_of(status: int, content: bytes) -> ProblemError:
    """Return what a status of the endpoint means for our caller.

    Wrong keys and unknown models are the operator's mistakes and not the caller's, so that they are failures.
    """
    if status in _REFUSED:
        return InvalidInput(_message_of(content), code="invalid_request")
    if status in _BUSY:
        return Unavailable("The model's endpoint is busy.", code="llm_busy", retry_after_s=RETRY_AFTER_S)
    failure = EngineFailed(f"The model's endpoint answered {status}.")
    failure.add_note(_message_of(content))
    return failure


def _message_of(content: bytes) -> str:
    try:
        error = json.loads(content)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return "The model refused the request."


def _traced(request: ChatRequest) -> dict[str, str]:
    return {"X-Request-ID": request.request_id}


def _of_length_one(vector: Sequence[float]) -> list[float]:
    norm = math.sqrt(math.fsum(value * value for value in vector)) or 1.0
    return [value / norm for value in vector]

"""What OpenAI clients ask for: models, completions, vectors, moderation, without anything of ours in
between."""

import base64
import struct
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

import structlog

from little_monster.platform.engines.protocols import (
    ChatModel,
    ChatRequest,
    Embedder,
)
from little_monster.platform.errors import InvalidInput, NotFound, Unavailable
from little_monster.platform.metrics import TIME_TO_FIRST_TOKEN, TOKENS

ADAPTER = ":"
"""Between the name of a model and that of its LoRA adapter."""
EMBEDDING_BATCH = 64
"""Texts in one call, so that a long list does not hold up everybody else's query."""

_log = structlog.get_logger(__name__)


def choose_model(models: Mapping[str, ChatModel], name: str | None) -> tuple[str, ChatModel]:
    """Return the model `name`, or `name:adapter`, else the default one, with the name to ask it by.

    Raises:
        NotFound: there is no such model.
    """
    if name is None:
        return next(iter(models.items()))
    model = models.get(name) or models.get(name.partition(ADAPTER)[0])
    if model is None:
        raise no_model(name)
    return name, model


def no_model(name: str) -> NotFound:
    """Return the error for a model that is not served here."""
    return NotFound(
        f"The model {name!r} does not exist; `/v1/models` lists those that do.", code="model_not_found"
    )


async def model_names(models: Mapping[str, ChatModel], embedder: Embedder) -> list[str]:
    """Return the names that clients may ask for: chat models, then the embedding model unless it is away."""
    names = list(models)
    try:
        names.append((await embedder.describe()).model)
    except Unavailable as error:
        _log.warning("embedding_model_not_listed", reason=error.detail)
    return names


def open_stream(model: ChatModel, request: ChatRequest) -> AsyncGenerator[str, None]:
    """Return the model's stream as what it is: a generator, whose `aclose` aborts the request."""
    return cast(AsyncGenerator[str, None], model.stream(request))


async def complete(
    models: Mapping[str, ChatModel], body: dict[str, Any], *, request_id: str
) -> dict[str, Any]:
    """Return one whole completion.

    Raises:
        NotFound: no such model.
        InvalidInput: the model refuses the request.
        EngineFailed: the model failed.
    """
    name, model = choose_model(models, body.get("model"))
    completion = await model.complete(ChatRequest(name, body, request_id))
    usage = completion.get("usage") or {}
    for kind in ("prompt", "completion"):
        TOKENS.labels(metric_label(name), kind).inc(usage.get(f"{kind}_tokens") or 0)
    return completion


async def stream(
    models: Mapping[str, ChatModel], body: dict[str, Any], *, request_id: str
) -> AsyncGenerator[str, None]:
    """Yield the model's own event frames. Raises as `complete`, mostly before the first frame."""
    started = time.perf_counter()
    name, model = choose_model(models, body.get("model"))
    frames = open_stream(model, ChatRequest(name, body, request_id))
    try:
        first = True
        async for frame in frames:
            if first:
                TIME_TO_FIRST_TOKEN.labels(metric_label(name)).observe(time.perf_counter() - started)
                first = False
            yield frame
    finally:
        await frames.aclose()


async def embed(
    embedder: Embedder, texts: Sequence[str], *, model: str, dimensions: int | None
) -> list[list[float]]:
    """Return one vector a text.

    Raises:
        NotFound: `model` is not the embedding model.
        InvalidInput: the model's vectors do not have `dimensions`.
    """
    info = await embedder.describe()
    if model != info.model:
        raise no_model(model)
    if dimensions is not None and dimensions != info.dimension:
        message = f"this model gives {info.dimension}"
        raise InvalidInput(
            f"`dimensions`: {message}.", errors=[{"field": "body.dimensions", "message": message}]
        )
    vectors: list[list[float]] = []
    for start in range(0, len(texts), EMBEDDING_BATCH):
        vectors += await embedder.embed(texts[start : start + EMBEDDING_BATCH])
    return vectors


def encode_vector(vector: Sequence[float]) -> str:
    """Return a vector as OpenAI's `base64` format has it: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def metric_label(name: str) -> str:
    """Return the model without its adapter: a metric must not grow with what clients ask for."""
    return name.partition(ADAPTER)[0]

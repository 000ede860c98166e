"""The API that OpenAI's clients speak; the access token is the API key."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
import structlog
from fastapi import APIRouter, Response

from little_monster.platform.errors import (
    EngineFailed,
    InvalidInput,
    NotFound,
    ProblemError,
    Unauthenticated,
)
from little_monster.platform.http.dependencies import CurrentUser, RequestId, ResourcesDep
from little_monster.platform.http.exception_handlers import INTERNAL, openai_responses
from little_monster.platform.http.schemas.openai import (
    ChatCompletion,
    ChatCompletionBody,
    Embedding,
    EmbeddingBody,
    EmbeddingList,
    EmbeddingUsage,
    Model,
    ModelList,
    Moderation,
    ModerationBody,
    ModerationList,
)
from little_monster.platform.http.streaming import StreamResponse
from little_monster.platform.services import completions
from little_monster.platform.services.chat.prompt import estimate_tokens

router = APIRouter(tags=["openai"])

_STARTED = int(time.time())
_log = structlog.get_logger(__name__)


@router.get("/models", summary="List models", responses=openai_responses(Unauthenticated))
async def list_models(_user: CurrentUser, resources: ResourcesDep) -> ModelList:
    """List the chat models, the default one first, and the embedding model."""
    names = await completions.model_names(resources.chat_models, resources.embedder)
    return ModelList(data=[Model(id=name, created=_STARTED) for name in names])


@router.get(
    "/models/{model:path}", summary="Show a model", responses=openai_responses(Unauthenticated, NotFound)
)
async def get_model(model: str, _user: CurrentUser, resources: ResourcesDep) -> Model:
    """Show a model."""
    if model not in await completions.model_names(resources.chat_models, resources.embedder):
        raise completions.no_model(model)
    return Model(id=model, created=_STARTED)


@router.post(
    "/chat/completions",
    summary="Complete a chat",
    response_model=None,
    responses={
        200: {
            "description": "The completion; with `stream`, its chunks as they are written.",
            "model": ChatCompletion,
            "content": {"text/event-stream": {}},
        },
        **openai_responses(Unauthenticated, NotFound, InvalidInput, EngineFailed),
    },
)
async def create_chat_completion(
    body: ChatCompletionBody,
    _user: CurrentUser,
    resources: ResourcesDep,
    request_id: RequestId,
) -> Response:
    """Hand the request to the engine, and its answer back, both as they are."""
    request = body.model_dump(exclude_unset=True)
    if body.stream:
        frames = completions.stream(resources.chat_models, request, request_id=request_id)
        return StreamResponse(_frames(frames))
    completion = await completions.complete(resources.chat_models, request, request_id=request_id)
    return Response(orjson.dumps(completion), media_type="application/json")


@router.post(
    "/embeddings",
    summary="Turn texts into vectors",
    response_model=EmbeddingList,
    responses=openai_responses(Unauthenticated, NotFound, InvalidInput),
)
async def create_embeddings(body: EmbeddingBody, _user: CurrentUser, resources: ResourcesDep) -> Response:
    """Return one vector a text."""
    texts = body.texts()
    vectors = await completions.embed(resources.embedder, texts, model=body.model, dimensions=body.dimensions)
    encode = completions.encode_vector if body.encoding_format == "base64" else list
    tokens = sum(map(estimate_tokens, texts))
    result = EmbeddingList(
        data=[Embedding(index=index, embedding=encode(vector)) for index, vector in enumerate(vectors)],
        model=body.model,
        usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
    )
    return Response(result.model_dump_json(), media_type="application/json")


@router.post(
    "/moderations",
    summary="Classify texts by harm",
    responses=openai_responses(Unauthenticated, InvalidInput),
)
async def create_moderation(
    body: ModerationBody,
    _user: CurrentUser,
    resources: ResourcesDep,
    request_id: RequestId,
) -> ModerationList:
    """Return one result a text."""
    results = await resources.moderator.classify(body.texts())
    return ModerationList(
        id=f"modr-{request_id}",
        model="moderation",
        results=[
            Moderation(
                flagged=result.flagged,
                categories={name: name in result.categories for name in result.scores},
                category_scores=result.scores,
            )
            for result in results
        ],
    )


async def _frames(frames: AsyncGenerator[str, None]) -> AsyncGenerator[bytes, None]:
    """Pass the engine's frames through; an error after the first one is a frame of its own, as OpenAI has
    it."""
    begun = False
    async with aclosing(frames):
        try:
            async for frame in frames:
                yield frame.encode()
                begun = True
        except ProblemError as error:
            if not begun:
                raise
            yield _error_frame(error)
        except Exception:
            if not begun:
                raise
            _log.exception("stream_failed")
            yield _error_frame(INTERNAL)


def _error_frame(error: ProblemError) -> bytes:
    body = {"message": error.detail, "type": "server_error", "param": None, "code": error.code}
    return b"data: %s\n\ndata: [DONE]\n\n" % orjson.dumps({"error": body})

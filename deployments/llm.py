"""The llm deployments: vLLM through `ray.serve.llm`, one deployment a model.

Only this module imports `ray.serve.llm`, which costs its process 0.6 GB: never the ingress.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from pydantic import ValidationError
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest, ErrorResponse
from ray.serve.deployment import Application
from ray.serve.llm import LLMConfig, LLMServer, build_llm_deployment

from little_monster.deployments.options import VllmModel

PREFIX = "llm:"


class ChatServer(LLMServer):  # type: ignore[misc]
    """Ray's LLM server that takes OpenAI requests as plain dictionaries, so that its callers need no types
    of vLLM."""

    async def ready(self) -> None:
        """Answer when the engine answers."""
        await self.check_health()

    async def generate(self, body: dict[str, Any]) -> AsyncGenerator[str | dict[str, Any], None]:
        """Yield event frames, or one `{"response": ...}`, or one `{"error": ...}` (`RemoteChatModel`)."""
        try:
            request = ChatCompletionRequest(**body)
        except ValidationError as error:
            yield _invalid(error)
            return
        async for batch in await self.chat(request):
            yield _item(batch)

    def _batch_output_stream(self, generator: AsyncGenerator[Any, None]) -> AsyncIterator[list[Any]]:
        """Send the first frame at once and join later ones for `stream_batching_interval_ms`.

        Ray's own batcher waits an interval before the first frame too, which is all that a reader feels.
        """
        return _first_at_once(generator, interval_s=self._get_batch_interval_ms() / 1000)


async def _first_at_once(frames: AsyncGenerator[Any, None], *, interval_s: float) -> AsyncIterator[list[Any]]:
    if interval_s <= 0:
        async for frame in frames:
            yield [frame]
        return
    pending: list[Any] = []
    arrived = asyncio.Event()
    reader = asyncio.create_task(_collect(frames, pending, arrived))
    try:
        while not reader.done() or pending:
            await arrived.wait()
            arrived.clear()
            batch, pending[:] = list(pending), []
            if batch:
                yield batch
                await asyncio.wait([reader], timeout=interval_s)
        await reader
    finally:
        reader.cancel()


async def _collect(frames: AsyncGenerator[Any, None], pending: list[Any], arrived: asyncio.Event) -> None:
    try:
        async for frame in frames:
            pending.append(frame)
            arrived.set()
    finally:
        arrived.set()


def _item(batch: Any) -> str | dict[str, Any]:
    if isinstance(batch, list):
        if isinstance(batch[0], str):
            return "".join(batch)
        batch = batch[0]
    if isinstance(batch, ErrorResponse):
        return {"error": batch.error.model_dump()}
    return {"response": batch.model_dump(exclude_none=True)}


def _invalid(error: ValidationError) -> dict[str, Any]:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return {
        "error": {
            "message": f"{field}: {first['msg']}",
            "type": "invalid_request_error",
            "param": field,
            "code": 400,
        }
    }


def build_llm(model: VllmModel) -> Application:
    """Bind one model; `llm_config` is validated by Ray's own `LLMConfig`."""
    return build_llm_deployment(LLMConfig(**model.llm_config), name_prefix=PREFIX, deployment_cls=ChatServer)

"""Ray's LLM server and its vLLM engine, as the replicas of `llm` run them.

Importing this module takes a process 0.6 GB and, on two slow cores, a quarter of a minute: only the replica
of a model does it, never the ingress and never the task that builds the graph.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest, ErrorResponse
from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm import LLMConfig, LLMServer


class ChatServer(LLMServer):  # type: ignore[misc]
    """Ray's LLM server that takes OpenAI requests as plain dictionaries, so that its callers need no types
    of vLLM."""

    async def answer(self, body: dict[str, Any]) -> AsyncGenerator[str | dict[str, Any], None]:
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


class Engine(VLLMEngine):  # type: ignore[misc]
    """Ray's vLLM engine, with one process less where one CPU worker is all there is."""

    def _start_async_llm_engine(self, args: Any, config: Any, placement_group: Any) -> Any:
        """Run a single CPU worker inside the engine's process.

        vLLM gives it a process of its own to set OpenMP's environment, which the replica's `runtime_env` has
        set already; a second import of vLLM and a hop for every token are saved.
        """
        accelerator = self.llm_config.get_engine_config().accelerator
        if not accelerator.requires_remote_initialization and config.parallel_config.world_size == 1:
            config.parallel_config.distributed_executor_backend = "uni"
        return super()._start_async_llm_engine(args, config, placement_group)


def make_server(document: dict[str, Any]) -> ChatServer:
    """Return the server of one model; `start` loads the engine.

    Args:
        document: Ray's `LLMConfig`, as a model file says it.

    Raises:
        ValueError: the document is not valid.
    """
    config = LLMConfig(**document)
    if Path(config.get_engine_config().actual_hf_model_id).is_dir():
        # Weights in a folder need no task that downloads them, which would import vLLM once more.
        config.get_or_create_callback().ctx.run_init_node = False
    server: ChatServer = ChatServer.sync_init(config, engine_cls=Engine)
    return server


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

"""The llm deployments: vLLM through Ray's own LLM server, one deployment a model.

The class here is light on purpose. Serve builds the graph in a task of its own, and only the replica that
serves a model should pay for the import of vLLM (`vllm_server`).
"""

import gc
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from ray import serve
from ray.serve.deployment import Application

from little_monster.deployments.options import VllmModel
from little_monster.deployments.placement import serve_options

PREFIX = "llm:"


class ChatModel:
    """One model; `ready` and `generate` are what `RemoteChatModel` calls.

    Args:
        llm_config: Ray's `LLMConfig`, as the model's file says it.
    """

    # Serve awaits a constructor that is a coroutine.
    async def __init__(self, llm_config: dict[str, Any]) -> None:  # type: ignore[misc]
        with _without_collections():
            from little_monster.deployments.vllm_server import make_server
        self._server = make_server(llm_config)
        await self._server.start()

    async def check_health(self) -> None:
        """Raise when the engine is dead, upon which Serve replaces the replica."""
        await self._server.check_health()

    async def ready(self) -> None:
        """Answer when the engine answers."""
        await self.check_health()

    async def generate(self, body: dict[str, Any]) -> AsyncGenerator[str | dict[str, Any], None]:
        """Yield event frames, or one `{"response": ...}`, or one `{"error": ...}` (`RemoteChatModel`)."""
        async for item in self._server.answer(body):
            yield item


@contextmanager
def _without_collections() -> Iterator[None]:
    """Spare an import of 6,000 modules the garbage collector, which would find nothing in them."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def build_llm(model: VllmModel) -> Application:
    """Bind one model; its replica validates `llm_config` by Ray's own `LLMConfig`."""
    name = PREFIX + model.model_id.replace("/", "--").replace(".", "_")
    return serve.deployment(ChatModel, name=name, **serve_options(model.llm_config)).bind(model.llm_config)

"""Work that nobody waits for: it outlives the request that began it, and a failure is only logged."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

import structlog
from opentelemetry.context import attach, get_current

from little_monster.platform.logs import bound

# A message that an SMTP server takes longer for is lost when the process ends; its reader asks for another.
DRAIN_S = 10.0

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class Background:
    """Tasks of this process, which `drain` ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin `work` now and return."""
        self.hold(_logged(work))

    def hold(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin `work` now, for who waits for it with `asyncio.shield`: it goes on without them."""
        task = asyncio.get_running_loop().create_task(work, context=_own_context())
        # The loop itself keeps no task alive.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, timeout_s: float = DRAIN_S) -> None:
        """Wait for what was begun, and cancel what takes longer than `timeout_s` seconds."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _own_context() -> Context:
    """Return a context with what logs and traces say of the request, and nothing else of it: when a client
    goes, Ray Serve cancels all that its request's context has asked of other deployments."""
    context = Context()
    context.run(bound.set, bound.get())
    context.run(attach, get_current())
    return context


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:
        _log.exception("background_work_failed", error=type(error).__name__)

"""Waits where the API says that it is asked too often, or that a part of it is away for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, TypeVar

from little_monster.platform.cli.problems import ApiProblem

Answer = TypeVar("Answer")

MAX_WAIT_S: Final = 300.0
"""Longest that one call is tried; then its problem is raised."""
_LATER: Final = (429, 503)


class Patience:
    """Repeats calls that are refused for now, when `Retry-After` says; `waited_s` is how long all of them
    waited together, `refusals` how often the rate limit refused one.

    Args:
        told: is called when it refuses the first one.
    """

    def __init__(self, told: Callable[[], None] | None = None) -> None:
        self.waited_s, self.refusals = 0.0, 0
        self._told = told

    async def __call__(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what `call` does in the end.

        Raises:
            ApiProblem: it is refused for another reason, or for too long.
        """
        begun = perf_counter()
        while True:
            try:
                return await call()
            except ApiProblem as problem:
                pause_s = problem.retry_after_s
                late = perf_counter() - begun > MAX_WAIT_S
                if problem.status not in _LATER or pause_s is None or late:
                    raise
                self._count(problem)
            before = perf_counter()
            await asyncio.sleep(pause_s)
            self.waited_s += perf_counter() - before

    def _count(self, problem: ApiProblem) -> None:
        if problem.status == 429:
            self.refusals += 1
            if self.refusals == 1 and self._told is not None:
                self._told()

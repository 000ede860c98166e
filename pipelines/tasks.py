"""Reads documents in Ray tasks: a parser that crashes, hangs or eats memory takes no more with it than one
process.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from little_monster.pipelines.sandbox import failures
from little_monster.pipelines.stages.read import ReadDocument, ReadRequest, read
from little_monster.platform.errors import ReadFailure, Unavailable

STARTED = "started"

# A worker can also be lost for a reason that is not the document's, so a crash must happen twice to be its
# fault.
_CRASHES = 2


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """`cpus` that Ray reserves for a read (0: none); seconds that a read may take, and may wait for its
    turn.
    """

    cpus: float = 0.5
    read_timeout_s: float = 300.0
    queue_timeout_s: float = 600.0


@ray.remote(max_retries=0, num_returns="streaming")  # type: ignore[untyped-decorator]
def read_document(request: ReadRequest) -> Iterator[str | ReadDocument | ReadFailure]:
    """Yield `STARTED`, then what was read, or why it cannot be: as a value, so that it arrives as it is."""
    yield STARTED
    try:
        yield read(request)
    except ReadFailure as failure:
        yield failure


class RayReader:
    """A `Reader` that has a Ray task do it.

    Args:
        options: see there.
        task: the remote function, another one in tests.
    """

    def __init__(self, options: ReaderOptions, task: Any = read_document) -> None:
        self._options = options
        self._task = task.options(num_cpus=options.cpus)

    async def __call__(self, request: ReadRequest) -> ReadDocument:
        """Read a document.

        Raises:
            ReadFailure: what `read` raises; `parser_crashed`, `parse_timeout`.
            Unavailable: the cluster had no room for it in time, or lost it.
            RayTaskError: an error of ours.
        """
        for _ in range(_CRASHES):
            try:
                return await self._read(request)
            except (WorkerCrashedError, OutOfMemoryError):
                continue
            except RayTaskError:
                # An error of our code, which is told apart from a machine that is away.
                raise
            except RayError as error:
                raise _unavailable() from error
        raise failures.crashed()

    async def _read(self, request: ReadRequest) -> ReadDocument:
        items = self._task.remote(request)
        try:
            await self._started(items)
            outcome = await self._outcome(items)
        except BaseException:
            # Not after a good end: the process then waits, its parsers loaded, for the next document.
            ray.cancel(items, force=True)
            raise
        if isinstance(outcome, ReadFailure):
            raise outcome
        return outcome

    async def _started(self, items: Any) -> None:
        try:
            await asyncio.wait_for(_next(items), self._options.queue_timeout_s)
        except TimeoutError:
            raise _unavailable() from None

    async def _outcome(self, items: Any) -> ReadDocument | ReadFailure:
        limit_s = self._options.read_timeout_s
        try:
            outcome: ReadDocument | ReadFailure = await asyncio.wait_for(_next(items), limit_s)
        except TimeoutError:
            raise failures.timeout(limit_s) from None
        return outcome


async def _next(items: Any) -> Any:
    return await (await anext(items))


def _unavailable() -> Unavailable:
    return Unavailable("No machine is free to read documents.", code="reader_unavailable", retry_after_s=30)

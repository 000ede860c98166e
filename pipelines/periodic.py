"""Work that is done again and again beside the queue."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from little_monster.db.errors import DatabaseUnavailable

_log = structlog.get_logger(__name__)


async def repeat(work: Callable[[], Awaitable[object]], *, every_s: float, stop: asyncio.Event) -> None:
    """Do `work` every `every_s` seconds, the first time at once, until `stop` is set. What fails is logged,
    and tried again the next time.
    """
    while not stop.is_set():
        try:
            await work()
        except DatabaseUnavailable as error:
            _log.warning("periodic_work_put_off", error=str(error))
        except Exception:
            _log.exception("periodic_work_failed")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_s)

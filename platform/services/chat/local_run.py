"""A run in this process: a task that goes on when the request that asked for it has gone."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import structlog

from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.errors import Unavailable
from little_monster.platform.services.chat.events import Done, Event, encode
from little_monster.platform.services.chat.record import RunHandle
from little_monster.platform.services.chat.run_log import Entry, RunLog

# Readers in this process see each entry at once; those of others, and Redis, so many seconds later at most.
_FLUSH_S: Final = 0.1
# As often at least it says that it is alive, and asks whether it is to stop.
_BEAT_S: Final = 0.5

_log = structlog.get_logger(__name__)


class LocalRun:
    """Takes the events of an answer as they come, keeps them for its readers, and writes them to the log.

    Args:
        events: makes the answer; closing it stores what there is.
        run: whose events they are.
        log: where other processes read it.
        request_id: of the request that asked, for the events of errors.
    """

    def __init__(
        self, events: AsyncGenerator[Event, None], run: RunHandle, log: RunLog, *, request_id: str
    ) -> None:
        self._events, self._run, self._log, self._request_id = events, run, log, request_id
        self._entries: list[Entry] = []
        self._news = asyncio.Event()
        self._ended = False
        self._refused: Exception | None = None
        self._answering: asyncio.Task[None] | None = None

    async def execute(self) -> None:
        """Make the answer to its end. Being cancelled interrupts it, and it is stored so."""
        self._answering = asyncio.create_task(self._answer())
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.shield(self._answering)
        except asyncio.CancelledError:
            self._answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._answering
        finally:
            self._ended = True
            self._tell()
            await writing

    def stop(self) -> None:
        """Stop at its owner's word: the engine is freed, and what there is is stored as cancelled."""
        if self._answering is not None and not self._ended:
            self._run.cancelled = True
            self._answering.cancel()

    async def began(self) -> None:
        """Return when the first entry is there.

        Raises:
            Exception: what refused the question before.
        """
        while not (self._entries or self._ended):
            await self._news_come()
        if self._refused is not None and not self._entries:
            raise self._refused

    async def follow(self, after: int) -> AsyncGenerator[Entry, None]:
        """Yield the entries behind number `after` as they come, to the last one."""
        while True:
            while after < len(self._entries):
                yield self._entries[after]
                after += 1
            if self._ended:
                return
            await self._news_come()

    async def _answer(self) -> None:
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    self._add(event)
        except asyncio.CancelledError:
            self._refused = Unavailable("The server is stopping; ask again.")
            if self._entries and not self._entries[-1].is_last:
                self._add(Done(self._run.run_id, self._run.broken_off))
        except Exception as error:
            self._refused = error

    def _add(self, event: Event) -> None:
        data = encode(event, self._request_id)
        self._entries.append(Entry(len(self._entries) + 1, event.name, data))
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _news_come(self) -> None:
        await self._news.wait()

    async def _write(self) -> None:
        """Copy entries to the log until the last one. Without Redis readers here have them all the same."""
        written = 0
        while not (self._ended and written == len(self._entries)):
            entries = self._entries[written:]
            try:
                if await self._log.append(entries):
                    self.stop()
                written += len(entries)
            except REDIS_AWAY as error:
                _log.warning("run_not_logged", error=type(error).__name__)
                if self._ended:
                    return
            if not self._ended:
                await self._pause(behind=written < len(self._entries))
        with contextlib.suppress(*REDIS_AWAY):
            await self._log.close()

    async def _pause(self, *, behind: bool) -> None:
        """Wait for more entries, half a second at most; then for what comes right behind them."""
        if not behind:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news_come(), _BEAT_S)
        if not self._ended:
            await asyncio.sleep(_FLUSH_S)

"""Two ways to a model: what somebody waits for goes at once, everything else in small slices beside it."""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

import numpy

WINDOW = 128
"""Texts of waiting calls that are put in order of length together."""

_BULK_NICENESS = 10
_MOST_PAUSE_S = 0.3
# Somebody waits for each text of a slice: it must not wait long for the others.
_URGENT_SLICE_S = 0.01
_MEMORY = 0.8
"""How much of the known speed stays after each slice."""


class Encoder(Protocol):
    """A model in this process."""

    def encode(self, texts: list[str]) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension). Blocks; several threads may call it."""
        ...


@dataclass(eq=False)
class _Call:
    encoder: Encoder
    texts: Sequence[str]
    answer: asyncio.Future[numpy.ndarray]
    vectors: dict[int, numpy.ndarray] = field(default_factory=dict)
    """By the row of the text."""

    def add(self, row: int, vector: numpy.ndarray) -> None:
        """Take the vector of one text, and answer with the last one."""
        self.vectors[row] = vector
        if len(self.vectors) == len(self.texts) and not self.answer.done():
            self.answer.set_result(numpy.stack([self.vectors[row] for row in range(len(self.texts))]))

    def fail(self, error: Exception) -> None:
        """Answer that it went wrong."""
        if not self.answer.done():
            self.answer.set_exception(error)


class _Place(NamedTuple):
    """A text: its call, and its row there."""

    call: _Call
    row: int

    @property
    def text(self) -> str:
        return self.call.texts[self.row]


class Lanes:
    """Runs texts through models, urgent ones in threads of their own and the rest in others.

    The threads of the rest have a lower priority with the operating system, work in slices, and begin none
    while something urgent is under way: that waits for one slice at most where a model takes one call at a
    time, and for nothing where it takes several.

    Args:
        batch_size: texts that go to a model at once, at most.
        slice_s: seconds that a slice of the rest should take; it has one text at least.
        urgent_threads: slices of what is urgent at once.
        bulk_threads: slices of the rest at once.
    """

    def __init__(
        self,
        *,
        batch_size: int = 32,
        slice_s: float = 0.03,
        urgent_threads: int = 1,
        bulk_threads: int = 1,
    ) -> None:
        urgent = _Slices(batch_size, min(slice_s, _URGENT_SLICE_S))
        self._urgent = _Lane("urgent", urgent, threads=urgent_threads)
        self._bulk = _Lane(
            "bulk",
            _Slices(batch_size, slice_s),
            threads=bulk_threads,
            after=self._urgent,
            niceness=_BULK_NICENESS,
        )

    async def encode(self, encoder: Encoder, texts: Sequence[str], *, urgent: bool) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension). What is cancelled is not computed.

        Raises:
            ValueError: there are no texts.
        """
        if not texts:
            raise ValueError("there are no texts to encode")
        lane = self._urgent if urgent else self._bulk
        return await lane.encode(encoder, texts)


class _Slices:
    """Cuts texts to slices that take so many seconds, by how fast the ones before went."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._speed = 0.0
        """Characters a second, as last seen; 0 before."""

    def cut(self, lengths: Sequence[int]) -> int:
        """Return how many texts of these lengths, the longest first, the next slice has."""
        # Shorter texts are filled up to the longest.
        fitting = int(self._speed * self._seconds / (lengths[0] or 1))
        return max(1, min(fitting, self._most, len(lengths)))

    def learn(self, lengths: Sequence[int], seconds: float) -> None:
        """Note how long a slice took."""
        seen = len(lengths) * max(lengths) / max(seconds, 1e-6)
        self._speed = _MEMORY * self._speed + (1 - _MEMORY) * seen if self._speed else seen


class _Lane:
    def __init__(
        self,
        name: str,
        slices: _Slices,
        *,
        threads: int = 1,
        after: "_Lane | None" = None,
        niceness: int = 0,
    ) -> None:
        self._slices, self._after, self._threads = slices, after, threads
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix=f"embedding-{name}", initializer=_lower_priority, initargs=(niceness,)
        )
        self._calls: deque[_Call] = deque()
        self._window: list[_Place] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def encode(self, encoder: Encoder, texts: Sequence[str]) -> numpy.ndarray:
        call = _Call(encoder, texts, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._idle.clear()
        # What finds nothing to do ends at once.
        while len(self._workers) < self._threads:
            self._workers.add(asyncio.create_task(self._run()))
        return await call.answer

    async def pause(self) -> None:
        """Return when nothing is under way here, or after a while, as who waits must not wait for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MOST_PAUSE_S):
                await self._idle.wait()

    async def _run(self) -> None:
        try:
            while self._window or self._calls:
                if self._after is not None:
                    await self._after.pause()
                if part := self._next_slice():
                    await self._run_slice(part)
        finally:
            self._workers.discard(cast(asyncio.Task[None], asyncio.current_task()))
            if not self._workers:
                self._idle.set()

    def _next_slice(self) -> list[_Place]:
        """Take texts that somebody still waits for off the front; none when nobody does."""
        self._window = [place for place in self._window if not place.call.answer.done()]
        if not self._window:
            places = [_Place(call, row) for call in self._next_calls() for row in range(len(call.texts))]
            self._window = sorted(places, key=lambda place: len(place.text), reverse=True)
        if not self._window:
            return []
        count = self._slices.cut([len(place.text) for place in self._window])
        part, self._window = self._window[:count], self._window[count:]
        return part

    def _next_calls(self) -> Iterator[_Call]:
        """Take calls to one model, in the order they came, as many as make a window."""
        encoder, texts = self._calls[0].encoder if self._calls else None, 0
        while self._calls and self._calls[0].encoder is encoder and texts < WINDOW:
            call = self._calls.popleft()
            if not call.answer.done():
                texts += len(call.texts)
                yield call

    async def _run_slice(self, places: Sequence[_Place]) -> None:
        """Encode texts and tell who waits; what goes wrong is told to all who share the slice."""
        texts = [place.text for place in places]
        loop, encoder = asyncio.get_running_loop(), places[0].call.encoder
        try:
            vectors, seconds = await loop.run_in_executor(self._executor, _timed, encoder, texts)
        except Exception as error:
            for place in places:
                place.call.fail(error)
            return
        self._slices.learn([len(text) or 1 for text in texts], seconds)
        for place, vector in zip(places, vectors, strict=True):
            place.call.add(place.row, vector)


def _timed(encoder: Encoder, texts: list[str]) -> tuple[numpy.ndarray, float]:
    begun = time.perf_counter()
    return encoder.encode(texts), time.perf_counter() - begun


def _lower_priority(niceness: int) -> None:
    # Linux alone gives priorities to threads; elsewhere this would slow the whole process down.
    if niceness and sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)

"""The client of streamed chat completions: the same code for every server that is compared."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import uvloop

from tests.benchmarks.figures import spread

_TIMEOUT = aiohttp.ClientTimeout(total=300)


@dataclass(slots=True)
class Stream:
    """What one stream's reader saw. `arrivals`: seconds since the request, one entry a frame with text."""

    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def first(self) -> float:
        """Time to the first token."""
        return self.arrivals[0]

    @property
    def per_token(self) -> float:
        """Mean time of each token after the first."""
        return (self.arrivals[-1] - self.arrivals[0]) / max(1, self.tokens - 1)

    @property
    def gaps(self) -> list[float]:
        """Times between two frames."""
        return [late - early for early, late in zip(self.arrivals, self.arrivals[1:], strict=False)]


@dataclass(frozen=True, slots=True)
class Wave:
    """Streams that ran together, and the seconds until the last one ended."""

    streams: list[Stream]
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return sum(stream.tokens for stream in self.streams) / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """A server's `chat/completions` and the model to ask there."""

    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)


def run_waves(
    target: Target, bodies: Sequence[Mapping[str, Any]], *, at_once: int, tokens: int
) -> list[Wave]:
    """Send the bodies, `at_once` together, each wave after the one before.

    Raises:
        RuntimeError: the server refused one, or answered with other than `tokens` tokens.
    """
    waves = [bodies[start : start + at_once] for start in range(0, len(bodies), at_once)]
    return uvloop.run(_waves(target, waves, tokens))


def merge(waves: Sequence[Wave]) -> Wave:
    """Return several waves as one that took as long as all of them."""
    return Wave([stream for wave in waves for stream in wave.streams], sum(wave.seconds for wave in waves))


def summarise(waves: Sequence[Wave]) -> dict[str, Any]:
    """Return rounds of one server as plain numbers: milliseconds, and tokens a second of each round."""
    streams = [stream for wave in waves for stream in wave.streams]
    gaps = [gap * 1000 for stream in streams for gap in stream.gaps]
    rates = [round(wave.tokens_per_s, 1) for wave in waves]
    return {
        "streams": len(streams),
        "ttft_ms": spread([stream.first * 1000 for stream in streams]),
        "tpot_ms": spread([stream.per_token * 1000 for stream in streams]),
        "gap_ms": spread(gaps),
        "frames": sum(len(stream.arrivals) for stream in streams),
        "tokens": sum(stream.tokens for stream in streams),
        "tokens_per_s": round(statistics.median(rates), 1),
        "rounds_tokens_per_s": rates,
    }


async def _waves(target: Target, waves: Sequence[Sequence[Mapping[str, Any]]], tokens: int) -> list[Wave]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, headers=target.headers, timeout=_TIMEOUT
    ) as session:
        return [await _wave(session, target, bodies, tokens) for bodies in waves]


async def _wave(
    session: aiohttp.ClientSession, target: Target, bodies: Sequence[Mapping[str, Any]], tokens: int
) -> Wave:
    begun = time.perf_counter()
    streams = await asyncio.gather(*(_read(session, target, body, tokens) for body in bodies))
    return Wave(list(streams), time.perf_counter() - begun)


async def _read(
    session: aiohttp.ClientSession, target: Target, body: Mapping[str, Any], tokens: int
) -> Stream:
    request = {**body, "model": target.model, "stream": True, "stream_options": {"include_usage": True}}
    stream, rest = Stream(), b""
    begun = time.perf_counter()
    async with session.post(f"{target.url}/chat/completions", json=request) as response:
        if response.status != 200:
            raise RuntimeError(f"{target.url}: {response.status} {(await response.text())[:500]}")
        async for part in response.content.iter_any():
            now = time.perf_counter() - begun
            *frames, rest = (rest + part).split(b"\n\n")
            for frame in frames:
                _take(stream, frame, now)
    if stream.tokens != tokens or not stream.arrivals:
        raise RuntimeError(f"{target.url}: {stream.tokens} tokens, {tokens} were asked for")
    return stream


def _take(stream: Stream, frame: bytes, now: float) -> None:
    """Note a frame. Only the frames until the first text are parsed, so that the client costs little."""
    if not frame.startswith(b"data: {"):
        return
    if b'"usage":{' in frame:
        usage = orjson.loads(frame[6:])
        stream.tokens = usage["usage"]["completion_tokens"]
        if not usage["choices"]:
            return
    if stream.arrivals or _has_text(orjson.loads(frame[6:])):
        stream.arrivals.append(now)


def _has_text(chunk: dict[str, Any]) -> bool:
    return any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices", []))

"""What happened in a run so far: its entries in a Redis stream, from where every replica reads them.

Entry n has the stream's id `n-0`, which is also the `id` of its server-sent event. `ALIVE` holds when the
process of each run last wrote: a run that is silent for `LOST_S` has lost its process.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis

from little_monster.platform.cache import REDIS_AWAY

KEPT_S: Final = 3600
"""Seconds that entries are kept after the last one; then the stored message says the same."""
LOST_S: Final = 4.0
LAST: Final = ("done", "error")
"""Names of entries that end a run."""

ALIVE: Final = "lm:runs"
_PREFIX: Final = "lm:run"
_BLOCK_MS: Final = 1000
_AT_ONCE: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: its number from 1, its name, its data as JSON."""

    number: int
    name: str
    data: bytes

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.name in LAST


class RunLog:
    """The entries of one run. What it asks of Redis raises `REDIS_AWAY` when that does not answer."""

    def __init__(self, redis: Redis, owner: UUID, run_id: UUID) -> None:
        self._redis: Any = redis
        self._member = f"{owner}:{run_id}"
        self._entries = f"{_PREFIX}:{owner}:{run_id}"
        self._stop = f"{self._entries}:stop"

    async def append(self, entries: Sequence[Entry]) -> bool:
        """Write entries, say that the run is alive, and return whether somebody wants it to stop."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for one in entries:
                pipe.xadd(self._entries, {"name": one.name, "data": one.data}, id=f"{one.number}-0")
            pipe.zadd(ALIVE, {self._member: time.time()})
            pipe.expire(self._entries, KEPT_S)
            pipe.exists(self._stop)
            answers = await pipe.execute()
        return bool(answers[-1])

    async def read(self, after: int, *, wait: bool = False) -> list[Entry]:
        """Return what is behind entry `after`; wait a second for it when there is nothing yet."""
        block = _BLOCK_MS if wait else None
        found = await self._redis.xread({self._entries: f"{after}-0"}, count=_AT_ONCE, block=block)
        return [
            Entry(int(number.split(b"-")[0]), fields[b"name"].decode(), fields[b"data"])
            for _, rows in found
            for number, fields in rows
        ]

    async def is_alive(self) -> bool:
        """Say whether the process of the run wrote within `LOST_S`."""
        beat = await self._redis.zscore(ALIVE, self._member)
        return beat is not None and beat > time.time() - LOST_S

    async def ask_to_stop(self) -> None:
        """Let the process of the run know that it is to stop."""
        await self._redis.set(self._stop, 1, ex=KEPT_S)

    async def forget(self) -> None:
        """Remove all entries: what they tell of is deleted."""
        await self._redis.delete(self._entries)

    async def close(self) -> None:
        """Say that no more entries come."""
        await self._redis.zrem(ALIVE, self._member)


async def lost_runs(redis: Redis) -> list[tuple[UUID, UUID]]:
    """Return owner and id of the runs that have lost their process."""
    commands: Any = redis
    members = await commands.zrangebyscore(ALIVE, "-inf", time.time() - LOST_S, start=0, num=100)
    pairs = (member.decode().split(":") for member in members)
    return [(UUID(owner), UUID(run_id)) for owner, run_id in pairs]


async def forget_runs(redis: Redis, owner: UUID) -> None:
    """Remove the entries of all runs of somebody whose account is gone; with Redis away they expire."""
    try:
        async for name in redis.scan_iter(f"{_PREFIX}:{owner}:*", count=1000):
            await redis.delete(name)
    except REDIS_AWAY as error:
        _log.warning("runs_not_forgotten", error=type(error).__name__)

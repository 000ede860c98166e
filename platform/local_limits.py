"""The count of `rate_limits` inside one process, while Redis is away: each replica counts its own."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 10_000
"""Users and addresses that are counted at most; the one that was new longest ago is forgotten first."""


@dataclass(slots=True)
class _Held:
    """What one key has used up: in which window, how often in it, and in the one before."""

    window: int = 0
    count: int = 0
    before: int = 0
    shut_until: float = 0.0


class LocalWindows:
    """Counts by key as the script of `rate_limits` does, by this machine's clock (seconds)."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}

    def hit(self, key: str, limit: int, width_s: float) -> tuple[int, int]:
        """Return how many more may pass, -1 where this one may not, -2 where none may, and in how many
        milliseconds that changes for the better."""
        now, held = self._clock(), self._find(key)
        if held.shut_until > now:
            return -2, math.ceil((held.shut_until - now) * 1000)
        window = math.floor(now / width_s)
        left = (window + 1) * width_s - now
        if window != held.window:
            held.before = held.count if window == held.window + 1 else 0
            held.window, held.count = window, 0
        free = limit - held.count - math.floor(held.before * left / width_s)
        if free > 0:
            held.count += 1
        elif held.count < limit:
            left -= width_s * (limit - held.count) / held.before
        return max(free, 0) - 1, math.ceil(left * 1000)

    def shut(self, key: str, seconds: float) -> None:
        """Let nothing of this key pass for so long."""
        self._find(key).shut_until = self._clock() + seconds

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def _find(self, key: str) -> _Held:
        if key not in self._held and len(self._held) >= MAX_KEYS:
            del self._held[next(iter(self._held))]
        return self._held.setdefault(key, _Held())

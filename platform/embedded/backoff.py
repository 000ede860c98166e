"""How long to wait before a part that died is started again."""

import time

_LONGEST_S = 60.0


class Backoff:
    """When a part that keeps dying may be started again: after 1, 2, 4 ... 60 seconds."""

    def __init__(self) -> None:
        self._delay_s = 1.0
        self._died: float | None = None
        self._started = time.monotonic()

    def alive(self) -> None:
        """It lives; after a minute of that the next wait is short again."""
        if time.monotonic() - self._started > _LONGEST_S:
            self._delay_s = 1.0

    def due(self) -> bool:
        """It is dead; say whether it may be started now."""
        now = time.monotonic()
        self._died = now if self._died is None else self._died
        if now - self._died < self._delay_s:
            return False
        self._died, self._started = None, now
        self._delay_s = min(self._delay_s * 2, _LONGEST_S)
        return True

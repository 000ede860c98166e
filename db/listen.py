"""Words that PostgreSQL sends by NOTIFY."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from little_monster.db.engine import plain_dsn

_LONGEST_PAUSE_S = 5.0
# A server that vanished without a word looks like one that has nothing to say: connect again.
_LONGEST_SILENCE_S = 60.0


async def listen(url: str, channel: str) -> AsyncIterator[str]:
    """Yield the payload of each notification of `channel`, on a connection of its own, until the iterator is
    closed.

    Reconnects when the connection is lost. What was sent meanwhile is lost too: an empty payload is yielded
    after each connection, the first one included, so that the listener looks for itself.
    """
    pause_s = 0.1
    while True:
        try:
            async with _connected(url, channel) as heard:
                pause_s = 0.1
                yield ""
                while (payload := await asyncio.wait_for(heard.get(), _LONGEST_SILENCE_S)) is not None:
                    yield payload
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # Whoever queries the database as well says why; here only patience helps.
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


@contextlib.asynccontextmanager
async def _connected(url: str, channel: str) -> AsyncIterator[asyncio.Queue[str | None]]:
    """A queue of payloads, which ends with None when the connection is lost."""
    heard: asyncio.Queue[str | None] = asyncio.Queue()

    def hear(_connection: Any, _process: int, _channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    connection = await asyncpg.connect(plain_dsn(url), timeout=10)
    try:
        connection.add_termination_listener(lambda _connection: heard.put_nowait(None))
        await connection.add_listener(channel, hear)
        yield heard
    finally:
        connection.terminate()

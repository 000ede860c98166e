"""Streamed answers: server-sent events, heartbeats, and a clean end when the client goes away.

The format is the one of the HTML standard, section 9.2 (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from little_monster.platform.json_bytes import to_json

HEARTBEAT: Final = b": keep-alive\n\n"
RETRY_MS: Final = 3_000
CLOSING_S: Final = 30.0
STREAM_HEADERS: Final = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}

# A producer that still stores a partial answer outlives its request, so somebody must hold it.
_producers: set[asyncio.Task[None]] = set()


def encode_retry(milliseconds: int = RETRY_MS) -> bytes:
    """Tell the client how long to wait before it connects again."""
    return b"retry: %d\n\n" % milliseconds


def encode_event(name: str, data: object, event_id: int) -> bytes:
    """Encode one named event; `data` is JSON already, in bytes, or what `to_json` takes."""
    text = data if isinstance(data, bytes) else to_json(data)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event_id, name.encode(), text)


class _ClientGoneError(Exception):
    """The server has nobody left to send to."""


class StreamResponse(Response):
    """Sends frames as they come and closes their generator in every case: its end, an error, a client that
    goes.

    The first frame is awaited before the status is sent, so that what the generator raises before it
    becomes an ordinary problem response. The frames are produced in a task of their own: cancelling that
    task, and not the request, leaves the generator free to await while it closes (abort the engine, store
    the partial answer).

    Args:
        frames: whole frames; after the first one it says in a frame what went wrong, and does not raise.
        heartbeat_s: seconds of silence after which a comment is sent; None sends none.
        headers: more response headers.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        *,
        heartbeat_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._frames, self._heartbeat_s = frames, heartbeat_s
        self._sent_at, self._may_beat = 0.0, False
        self.status_code, self.background = 200, None
        self.init_headers({**STREAM_HEADERS, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        producer = asyncio.create_task(self._produce(send))
        _producers.add(producer)
        producer.add_done_callback(_producers.discard)
        listener, beat = asyncio.create_task(_listen(receive)), asyncio.create_task(self._beat(send))
        try:
            await asyncio.wait({producer, listener}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listener.cancel()
            beat.cancel()
            await _close(producer)
        _raise_failure(producer)

    async def _produce(self, send: Send) -> None:
        async with aclosing(self._frames) as frames:
            first = await anext(frames, b"")
            await self._send(
                send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            )
            await self._send(send, _body(first))
            async for frame in frames:
                await self._send(send, _body(frame))
            await self._send(send, _body(b"", more=False))

    async def _send(self, send: Send, message: Message) -> None:
        self._may_beat = False
        try:
            await send(message)
        except OSError as error:
            # Servers of ASGI 2.4 and later raise this when the client has gone.
            raise _ClientGoneError from error
        self._sent_at, self._may_beat = asyncio.get_running_loop().time(), message.get("more_body", False)

    async def _beat(self, send: Send) -> None:
        """Send a comment after each silence; a stalled client gets none on top of what it has not read."""
        if self._heartbeat_s is None:
            return
        clock = asyncio.get_running_loop().time
        wait = self._heartbeat_s
        while True:
            await asyncio.sleep(wait)
            wait = self._heartbeat_s
            silence = clock() - self._sent_at
            if self._may_beat and silence >= self._heartbeat_s:
                await self._send(send, _body(HEARTBEAT))
            elif self._may_beat:
                wait -= silence


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _listen(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _close(producer: asyncio.Task[None]) -> None:
    """Cancel what still runs and wait until it has cleaned up, although the request itself is cancelled."""
    producer.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait({producer}, timeout=CLOSING_S)


def _raise_failure(producer: asyncio.Task[None]) -> None:
    if not producer.done() or producer.cancelled():
        return
    error = producer.exception()
    if error is not None and not isinstance(error, _ClientGoneError):
        raise error

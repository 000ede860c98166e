"""Compresses long answers with Brotli or gzip, as the client asks; never a stream of events."""

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware, add_compress_type

LEAST_BYTES: Final = 1024
"""A shorter answer fits into one packet as it is."""

add_compress_type("application/problem+json")


_ANSWER: Final = "little_monster.answer"


class CompressionMiddleware:
    """Compresses whole answers from `LEAST_BYTES` on, and tells the entity tags of compressed ones apart.

    All others, streams too, pass before the compressor is asked: that alone would cost a short one as much as
    to make it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compress = CompressMiddleware(_repeat, minimum_size=LEAST_BYTES, zstd=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_or_compress(message: Message) -> None:
            nonlocal held
            if held is None and message["type"] == "http.response.start" and _is_long(message["headers"]):
                held = message
            elif held is None:
                await send(message)
            else:
                start, held = held, None
                await self._answer(scope, receive, send, start, message)

        await self._app(scope, receive, send_or_compress)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, start: Message, body: Message
    ) -> None:
        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                _mark_tag(message["headers"])
            await send(message)

        if body.get("more_body", False):
            await send(start)
            await send(body)
        else:
            await self._compress({**scope, _ANSWER: (start, body)}, receive, send_tagged)


async def _repeat(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer what was answered already: the application that the compressor stands around."""
    for message in scope[_ANSWER]:
        await send(message)


def _is_long(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Say whether an answer declares enough bytes to gain; a stream declares none."""
    return any(name == b"content-length" and int(value) >= LEAST_BYTES for name, value in headers)


def _mark_tag(headers: list[tuple[bytes, bytes]]) -> None:
    """Give a compressed answer a tag of its own: a strong one stands for bytes, and these are other bytes
    (RFC 9110, section 8.8.3.3). `etags` knows both for one version.
    """
    coding = next((value for name, value in headers if name == b"content-encoding"), None)
    if coding is None:
        return
    for index, (name, value) in enumerate(headers):
        if name == b"etag":
            headers[index] = (name, value[:-1] + b"-" + coding + value[-1:])

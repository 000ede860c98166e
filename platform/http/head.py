"""HEAD: what GET would answer, without the body (RFC 9110, section 9.3.2)."""

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOTHING_SENT: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}
_GONE: Final[Message] = {"type": "http.disconnect"}


class HeadMiddleware:
    """Lets the application answer HEAD as GET. A stream is told after its first part that its client has
    gone, as nobody hears the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        # A copy, as a server looks into its own to see that no body is due.
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, answer.receive, answer.send)
        except ClientDisconnect:
            if not answer.sent.is_set():
                raise
        finally:
            # For the log.
            scope["route"] = inner.get("route")


class _Answer:
    """The client of one HEAD, as the application sees it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._asked = False
        self.sent = asyncio.Event()

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return _NOTHING_SENT
        await self.sent.wait()
        return _GONE

    async def send(self, message: Message) -> None:
        if self.sent.is_set():
            # What servers raise when they have nobody left to send to.
            raise OSError("HEAD has been answered")
        if message["type"] == "http.response.body":
            self.sent.set()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

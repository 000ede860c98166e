"""Entity tags of lists: of the bytes themselves, as no row says when something was added to or left a list.

The list is read all the same; what a tag spares is sending it.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from little_monster.platform.http.etags import REVALIDATE, known_tag

_REVALIDATE: Final = (b"cache-control", REVALIDATE.encode())
_DIGEST_BYTES: Final = 12


class ListTagMiddleware:
    """Gives a tag to a whole answer that is to be revalidated and has none, and answers 304 to who has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_tagged(message: Message) -> None:
            nonlocal held
            if held is None and message["type"] == "http.response.start" and _lacks_tag(message):
                held = message
            elif held is None:
                await send(message)
            else:
                start, held = held, None
                for one in _tagged(scope, start, message):
                    await send(one)

        await self._app(scope, receive, send_tagged)


def _lacks_tag(start: Message) -> bool:
    headers = start["headers"]
    return start["status"] == 200 and _REVALIDATE in headers and all(name != b"etag" for name, _ in headers)


def _tagged(scope: Scope, start: Message, body: Message) -> Iterable[Message]:
    if body.get("more_body", False):
        return start, body
    tag = f'"{blake2b(body.get("body", b""), digest_size=_DIGEST_BYTES).hexdigest()}"'
    known = known_tag(Headers(scope=scope).getlist("if-none-match"), tag)
    if known is None:
        return {**start, "headers": [*start["headers"], (b"etag", tag.encode())]}, body
    headers = [(b"etag", known.encode()), _REVALIDATE]
    return {**start, "status": 304, "headers": headers}, {"type": "http.response.body", "body": b""}

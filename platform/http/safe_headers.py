"""Headers that make every answer safe to a browser, whoever made it."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = "Content-Security-Policy"

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
# What says nothing of storing it is somebody's own.
_CACHE_CONTROL: Final = (b"cache-control", b"no-store")
# A page that brings no policy of its own needs nothing and may do nothing.
_STRICT_POLICY: Final = (
    POLICY.lower().encode(),
    b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
)


class SafeHeadersMiddleware:
    """Adds to each answer what keeps a browser from guessing its type, storing it, or running it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, send_safe)


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    named = {name.lower(): value for name, value in headers}
    added = [header for header in _ALWAYS if header[0] not in named]
    if _CACHE_CONTROL[0] not in named:
        added.append(_CACHE_CONTROL)
    if named.get(b"content-type", b"").startswith(b"text/html") and _STRICT_POLICY[0] not in named:
        added.append(_STRICT_POLICY)
    return [*headers, *added]

"""The mock engine as an OpenAI-compatible endpoint: plain ASGI, as little as can be measured against."""

from typing import Any

from tests.benchmarks.mock_frames import frames


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    kind = b"text/event-stream" if scope["method"] == "POST" else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if scope["method"] == "POST":
        async for frame in frames():
            await send({"type": "http.response.body", "body": frame.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": b'{"object":"list","data":[]}'})


def create() -> Any:
    """Return the application."""
    return _app

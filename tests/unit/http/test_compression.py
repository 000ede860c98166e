"""Long answers are compressed; short ones, streams and what is compressed already pass as they are."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from typing import Any

import brotli
import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message

from little_monster.platform.http.compression import LEAST_BYTES, CompressionMiddleware
from little_monster.platform.http.streaming import StreamResponse

LONG = {"items": ["The cell is the unit of life."] * 100}
TAG = '"1-2"'


async def answer(app: ASGIApp, accept: str | None) -> tuple[dict[str, str], bytes]:
    headers = [] if accept is None else [(b"accept-encoding", accept.encode())]
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await CompressionMiddleware(app)({"type": "http", "method": "GET", "headers": headers}, receive, send)
    start, *bodies = sent
    named = {name.decode(): value.decode() for name, value in start["headers"]}
    return named, b"".join(one.get("body", b"") for one in bodies)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br", "br"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("*", "br"),
    ],
)
async def test_a_long_answer_is_compressed(accept: str, coding: str) -> None:
    plain, whole = await answer(JSONResponse(LONG, headers={"ETag": TAG}), None)
    headers, body = await answer(JSONResponse(LONG, headers={"ETag": TAG}), accept)
    assert (headers["content-encoding"], int(headers["content-length"])) == (coding, len(body))
    assert "accept-encoding" in headers["vary"].lower() == plain["vary"].lower()
    assert len(body) < len(whole) / 5
    assert {"gzip": gzip.decompress, "br": brotli.decompress}[coding](body) == whole
    assert (plain["etag"], headers["etag"]) == (TAG, f'"1-2-{coding}"')


@pytest.mark.parametrize("accept", [None, "identity", "zstd", "gzip;q=0", "nonsense", ""])
async def test_who_does_not_ask_gets_it_plain(accept: str | None) -> None:
    headers, body = await answer(JSONResponse(LONG, headers={"ETag": TAG}), accept)
    assert "content-encoding" not in headers
    assert headers["etag"] == TAG
    assert body == JSONResponse(LONG).body


@pytest.mark.parametrize(
    "response",
    [
        JSONResponse({"a": "b" * (LEAST_BYTES - 20)}, headers={"ETag": TAG}),
        Response(b"x" * 5000, media_type="image/png"),
        Response(
            gzip.compress(b"x" * 500_000), media_type="text/plain", headers={"Content-Encoding": "gzip"}
        ),
        Response(status_code=304, headers={"ETag": TAG}),
        Response(status_code=204),
    ],
    ids=["short", "picture", "compressed", "not modified", "empty"],
)
async def test_what_would_not_gain_passes_as_it_is(response: Response) -> None:
    headers, body = await answer(response, "br, gzip")
    assert body == response.body
    sent = {name.decode(): value.decode() for name, value in response.raw_headers}
    if "content-encoding" not in sent:
        assert headers == sent


async def test_events_are_not_held_back() -> None:
    """The second frame is made only after the first one was sent."""
    arrived = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"data: " + b"first " * 500 + b"\n\n"
        await asyncio.wait_for(arrived.wait(), 5)
        yield b"data: second\n\n"

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if b"first" in message.get("body", b""):
            arrived.set()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope: Any = {"type": "http", "method": "POST", "headers": [(b"accept-encoding", b"br, gzip")]}
    await CompressionMiddleware(StreamResponse(frames()))(scope, receive, send)
    assert b"content-encoding" not in dict(sent[0]["headers"])
    assert [one["body"] for one in sent[1:]] == [
        b"data: " + b"first " * 500 + b"\n\n",
        b"data: second\n\n",
        b"",
    ]

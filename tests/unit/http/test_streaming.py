"""Event streams: their format, heartbeats, and that their generator is always closed."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from uuid import UUID

import pytest
from starlette.types import Message

from little_monster.platform.http.streaming import HEARTBEAT, StreamResponse, encode_event, encode_retry


@dataclass(frozen=True, slots=True)
class Told:
    id: UUID
    text: str


class Client:
    """One request: what the application sends it, and when it goes away."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self.stalled: asyncio.Event | None = None

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if self.stalled is not None:
            await self.stalled.wait()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Frames:
    """A generator that tells how it ended, and needs the loop to clean up."""

    def __init__(
        self, count: int = 3, delay_s: float = 0.0, error: Exception | None = None, at: int = 0
    ) -> None:
        self.count, self.delay_s, self.error, self.at = count, delay_s, error, at
        self.made = 0
        self.cleaned_up = False

    async def run(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(self.count):
                if self.error is not None and number == self.at:
                    raise self.error
                await asyncio.sleep(self.delay_s)
                self.made += 1
                yield b"frame %d\n\n" % number
        finally:
            await asyncio.sleep(0.01)
            self.cleaned_up = True


async def run(response: StreamResponse, client: Client) -> None:
    await response({"type": "http"}, client.receive, client.send)


def test_an_event_is_one_line_of_json_with_an_id_and_a_name() -> None:
    text = encode_event("delta", Told(UUID(int=1), "two\nlines\u2028ü"), 7).decode()
    first, name, data, *rest = text.split("\n")
    assert (first, name, rest) == ("id: 7", "event: delta", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"id": str(UUID(int=1)), "text": "two\nlines\u2028ü"}
    assert encode_retry(3000) == b"retry: 3000\n\n"


async def test_all_frames_are_sent_with_the_headers_of_a_stream() -> None:
    client, frames = Client(), Frames()
    await run(StreamResponse(frames.run(), headers={"X-More": "1"}), client)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert (headers[b"x-accel-buffering"], headers[b"x-more"]) == (b"no", b"1")
    assert client.body == b"frame 0\n\nframe 1\n\nframe 2\n\n"
    assert client.sent[-1]["more_body"] is False
    assert frames.cleaned_up


async def test_an_error_before_the_first_frame_is_raised_before_anything_is_sent() -> None:
    client, frames = Client(), Frames(error=LookupError("no"))
    with pytest.raises(LookupError):
        await run(StreamResponse(frames.run()), client)
    assert client.sent == []
    assert frames.cleaned_up


async def test_a_client_that_goes_closes_the_generator_which_may_still_await() -> None:
    client, frames = Client(), Frames(count=1000, delay_s=0.005)
    task = asyncio.create_task(run(StreamResponse(frames.run()), client))
    await asyncio.sleep(0.05)
    client.gone.set()
    await asyncio.wait_for(task, 1)
    assert 0 < frames.made < 1000
    assert frames.cleaned_up


async def test_a_client_that_goes_before_the_first_frame_closes_it_too() -> None:
    client, frames = Client(), Frames(delay_s=10)
    client.gone.set()
    await asyncio.wait_for(run(StreamResponse(frames.run()), client), 1)
    assert frames.cleaned_up
    assert client.sent == []


async def test_a_cancelled_request_closes_the_generator_too() -> None:
    client, frames = Client(), Frames(count=1000, delay_s=0.005)
    task = asyncio.create_task(run(StreamResponse(frames.run()), client))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert frames.cleaned_up


async def test_a_client_that_does_not_read_holds_the_generator_back_and_gets_no_heartbeats() -> None:
    client, frames = Client(), Frames(count=1000)
    client.stalled = asyncio.Event()
    task = asyncio.create_task(run(StreamResponse(frames.run(), heartbeat_s=0.01), client))
    await asyncio.sleep(0.1)
    assert frames.made == 1
    assert len(client.sent) == 1
    client.gone.set()
    await asyncio.wait_for(task, 1)
    assert frames.cleaned_up


async def test_heartbeats_fill_silence_and_do_not_disturb_the_generator() -> None:
    client, frames = Client(), Frames(count=2, delay_s=0.15)
    await run(StreamResponse(frames.run(), heartbeat_s=0.04), client)
    assert client.body.replace(HEARTBEAT, b"") == b"frame 0\n\nframe 1\n\n"
    # None before the first frame, as the status is not sent yet; about three between the frames.
    assert client.body.startswith(b"frame 0")
    assert 2 <= client.body.count(HEARTBEAT) <= 4


async def test_a_server_that_says_the_client_has_gone_is_not_an_error() -> None:
    client, frames = Client(), Frames()

    async def send(message: Message) -> None:
        raise OSError("gone")

    await StreamResponse(frames.run())({"type": "http"}, client.receive, send)
    assert frames.cleaned_up

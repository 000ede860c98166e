"""Work that nobody waits for."""

import asyncio
import io
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
from opentelemetry.context import attach, detach, get_value, set_value

from little_monster.platform.background import Background
from little_monster.platform.logs import bound, setup_logs
from little_monster.platform.settings import TelemetrySettings


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(), stream)
    yield stream
    setup_logs(TelemetrySettings())


async def test_draining_waits_for_what_was_begun() -> None:
    background, done = Background(), []

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(True)

    background.start(work())
    background.start(work())
    assert done == []
    await background.drain()
    assert done == [True, True]
    await background.drain()


async def test_what_takes_too_long_is_cancelled() -> None:
    background, cancelled = Background(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    background.start(work())
    await asyncio.sleep(0)
    await background.drain(timeout_s=0.01)
    assert cancelled.is_set()


async def test_it_knows_its_request_for_the_logs_and_no_more_of_it() -> None:
    """Ray Serve, when a client goes, cancels what the context of the request asked of other deployments."""
    background, servers, seen = Background(), ContextVar("servers", default="none"), []

    async def work() -> None:
        seen.append((servers.get(), dict(bound.get()), get_value("span")))

    servers.set("request 1")
    token = bound.set({"request_id": "abc"})
    span = attach(set_value("span", "of the request"))
    background.start(work())
    detach(span)
    bound.reset(token)
    await background.drain()
    assert seen == [("none", {"request_id": "abc"}, "of the request")]


async def test_a_failure_is_logged(log: io.StringIO) -> None:
    background = Background()

    async def work() -> None:
        raise RuntimeError("broken")

    background.start(work())
    await background.drain()
    assert "background_work_failed" in log.getvalue()
    assert "RuntimeError" in log.getvalue()

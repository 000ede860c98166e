"""Which pages of other origins a browser lets read our answers: those of the settings, without cookies."""

from collections.abc import Mapping
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from little_monster.platform.http.middlewares import LateCORSMiddleware
from little_monster.platform.settings import ApiSettings

OURS, OTHER = "https://app.example.com", "https://evil.example.com"
PATHS = ["/livez", "/api/v1/users/me", "/api/v1/nowhere", "/api/v1/test/broken"]
# What tells a browser to let a page read something.
GRANTS = ("access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers")


def preflight(origin: str, method: str = "POST", headers: str = "authorization") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


def grants(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in GRANTS if name in headers}


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_of_ours_reads_every_answer(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Origin": OURS})
    assert answer.headers["access-control-allow-origin"] == OURS
    # What is kept for one origin is not for another.
    assert "Origin" in answer.headers["vary"]
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"ETag", "Location", "Link", "Retry-After", "RateLimit", "X-Request-ID"} <= exposed


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", [OTHER, "null", f"{OURS}.evil.com", "http://app.example.com", f"{OURS}:8443", OURS.upper(), "*"]
)
async def test_another_origin_reads_nothing(client: httpx.AsyncClient, path: str, origin: str) -> None:
    answer = await client.get(path, headers={"Origin": origin})
    assert grants(answer.headers) == {}


@pytest.mark.parametrize("path", PATHS)
async def test_without_an_origin_there_is_nothing_to_allow(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert grants(answer.headers) == {}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_page_of_ours_may_send_what_the_api_takes(client: httpx.AsyncClient, method: str) -> None:
    wanted = "authorization,content-type,idempotency-key,if-match,if-none-match,last-event-id,x-request-id"
    answer = await client.options("/api/v1/videos", headers=preflight(OURS, method, wanted))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == OURS
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "asked",
    [preflight(OTHER), preflight(OURS, "TRACE"), preflight(OURS, "POST", "x-other"), preflight("null")],
)
async def test_what_else_a_preflight_asks_for_is_refused(
    client: httpx.AsyncClient, asked: dict[str, str]
) -> None:
    answer = await client.options("/api/v1/videos", headers=asked)
    assert answer.status_code == 400
    if asked["Origin"] != OURS:
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", [OURS, OTHER])
async def test_no_answer_lets_cookies_come_along(client: httpx.AsyncClient, origin: str) -> None:
    """The API takes tokens alone: a page that was not given one has none that a browser could add."""
    for answer in (
        await client.get("/api/v1/users/me", headers={"Origin": origin, "Cookie": "session=1"}),
        await client.options("/api/v1/users/me", headers=preflight(origin)),
    ):
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers


async def test_where_no_origin_is_set_no_page_reads_anything() -> None:
    app = FastAPI()
    app.state.resources = SimpleNamespace(settings=SimpleNamespace(api=ApiSettings(cors_origins=[])))
    app.add_middleware(LateCORSMiddleware)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for answer in (
            await client.get("/", headers={"Origin": OURS}),
            await client.options("/", headers=preflight(OURS)),
        ):
            assert grants(answer.headers) == {}

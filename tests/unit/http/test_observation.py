"""Ids come in and go out, requests are counted and logged, and nothing personal is in a log."""

import io
import json
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.types import Message

from little_monster.platform.logs import setup_logs
from little_monster.platform.rate_limits import RateLimiter
from little_monster.platform.settings import TelemetrySettings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(log_level="DEBUG"), stream)
    yield stream
    setup_logs(TelemetrySettings())


async def test_request_id_is_echoed_or_made(client: httpx.AsyncClient) -> None:
    for mine in ("01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D", "4bf92f3577b34da6a3ce929d0e0e4736"):
        given = await client.get("/livez", headers={"X-Request-ID": mine})
        assert given.headers["x-request-id"] == mine
    made = await client.get("/livez")
    assert len(made.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "evil",
    [
        'a"b',
        "a" * 37,
        "a b",
        "<script>",
        "287082",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "lmp_uV2mYh0ZbJ8nq5sT1xW4rK7cE9gA3dF6iL0oP8tQyBs",
        "uV2mYh0ZbJ8nq5sT1xW4rK7cE9gA3dF6iL0oP8tQyBs",
        "correct-horse-battery",
        "beef-dead-cafe-face-dead-beef-cafe-faced",
    ],
)
async def test_harmful_request_id_is_replaced(client: httpx.AsyncClient, evil: str) -> None:
    response = await client.get("/livez", headers={"X-Request-ID": evil})
    assert response.headers["x-request-id"] != evil


async def test_traceparent_continues_the_trace(client: httpx.AsyncClient) -> None:
    sent = f"00-{TRACE}-00f067aa0ba902b7-01"
    version, trace, parent, flags = (
        (await client.get("/livez", headers={"traceparent": sent})).headers["traceparent"].split("-")
    )
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert parent != "00f067aa0ba902b7"


@pytest.mark.parametrize("bad", ["", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
async def test_traceparent_is_made_when_there_is_none(client: httpx.AsyncClient, bad: str) -> None:
    response = await client.get("/livez", headers={"traceparent": bad} if bad else {})
    trace = response.headers["traceparent"].split("-")[1]
    assert trace not in (TRACE, "0" * 32)


async def test_line_of_a_request(client: httpx.AsyncClient, bearer: dict[str, str], log: io.StringIO) -> None:
    job_id = "01890a5d-ac96-774b-bcce-b302099a8057"
    await client.get(f"/api/v1/jobs/{job_id}", headers={**bearer, "X-Request-ID": "feed-0002"})
    (line,) = [one for one in _lines(log) if one["event"] == "request"]
    assert line["route"] == "/api/v1/jobs/{job_id}"
    assert (line["method"], line["status"], line["request_id"]) == ("GET", 503, "feed-0002")
    assert line["code"] == "unavailable"
    assert len(str(line["user"])) == 16
    assert len(str(line["trace_id"])) == 32
    assert job_id not in log.getvalue()
    assert bearer["Authorization"][7:] not in log.getvalue()


async def test_unexpected_error_is_logged_without_what_it_quotes(
    client: httpx.AsyncClient, log: io.StringIO
) -> None:
    await client.get("/api/v1/test/broken")
    (line,) = [one for one in _lines(log) if one["event"] == "unexpected_error"]
    assert "Traceback" in str(line["exception"])
    assert "ada@example.com" not in log.getvalue()


async def test_redis_away_is_logged_and_lets_requests_pass(
    app: FastAPI, client: httpx.AsyncClient, bearer: dict[str, str], log: io.StringIO
) -> None:
    limiter = RateLimiter(app.state.resources.redis)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(vars(app.state.resources), "limiter", limiter)
        response = await client.get("/api/v1/users/me", headers=bearer)
    assert response.headers["ratelimit"].startswith('"requests";r=599;')
    assert "rate_limits_counted_here" in [line["event"] for line in _lines(log)]


async def test_requests_are_counted_by_route(client: httpx.AsyncClient) -> None:
    labels = {"method": "GET", "route": "/livez", "status": "200"}
    before = REGISTRY.get_sample_value("lm_http_requests_total", labels) or 0
    await client.get("/livez")
    assert REGISTRY.get_sample_value("lm_http_requests_total", labels) == before + 1
    text = (await client.get("/metrics")).text
    assert 'lm_http_request_duration_seconds_bucket{le="0.005",method="GET",route="/livez"}' in text
    assert "lm_time_to_first_token_seconds" in text


async def test_unknown_paths_share_one_label(client: httpx.AsyncClient) -> None:
    await client.get("/wp-admin.php")
    assert "wp-admin" not in (await client.get("/metrics")).text


async def test_cors_for_the_origins_of_the_settings(client: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    allowed = await client.options("/api/v1/auth/login", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    head = await client.options("/livez", headers={**asked, "Access-Control-Request-Method": "HEAD"})
    assert head.status_code == 200
    refused = await client.options("/api/v1/auth/login", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers
    error = await client.get("/api/v1/users/me", headers={"Origin": "https://app.example.com"})
    assert error.status_code == 401
    assert error.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_client_that_goes_is_no_error(app: FastAPI, log: io.StringIO) -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        raise AssertionError("nobody is left to be answered")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/test/streamed",
        "headers": [],
        "query_string": b"",
    }
    await app({**scope, "raw_path": b"", "scheme": "http", "root_path": "", "client": None}, gone, send)
    assert [(line["event"], line["status"]) for line in _lines(log)] == [("request", 499)]


def _lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]

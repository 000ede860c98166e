"""How much a request may bring: its headers and its JSON, to the byte. Uploads: `test_documents.py`."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tests.fixtures.servers import serve_here

LOGIN = "/api/v1/auth/login"
LIMIT = 2048
HEADERS = 64 * 1024


def body_of(size: int) -> bytes:
    """Return JSON of so many bytes, which breaks another rule."""
    empty = json.dumps({"email": ""}).encode()
    return json.dumps({"email": "a" * (size - len(empty))}).encode()


async def streamed(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), 100):
        yield content[begin : begin + 100]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 422), (LIMIT + 1, 413), (50 * LIMIT, 413)])
async def test_a_body_has_its_limit(
    client: httpx.AsyncClient, size: int, status: int, is_streamed: bool
) -> None:
    content = body_of(size)
    assert len(content) == size
    answer = await client.post(
        LOGIN,
        content=streamed(content) if is_streamed else content,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == ("too_large" if status == 413 else "invalid_input")


@pytest.mark.parametrize("declared", ["0", "10", "-1", "1e9", "99999999999999999999", ""])
async def test_a_length_that_is_wrong_lets_nothing_more_in(client: httpx.AsyncClient, declared: str) -> None:
    answer = await client.post(
        LOGIN,
        content=streamed(body_of(2 * LIMIT)),
        headers={"Content-Type": "application/json", "Content-Length": declared},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/livez", "/api/v1/users/me", "/api/v1/nowhere"])
async def test_headers_have_their_limit(client: httpx.AsyncClient, method: str, path: str) -> None:
    for headers in ({"X-Large": "x" * HEADERS}, {f"X-{number}": "x" * 100 for number in range(700)}):
        answer = await client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.content) < 1_000
    fits = await client.request(method, path, headers={"X-Large": "x" * (HEADERS - 1_000)})
    assert fits.status_code != 431


async def test_a_path_counts_as_well(client: httpx.AsyncClient) -> None:
    for url in (f"/livez?{'x' * 60_000}", f"/api/v1/{'x' * 60_000}"):
        answer = await client.get(url, headers={"X-Large": "x" * 8_000})
        assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Authorization", f"Bearer {'x' * 30_000}", 401),
        ("Authorization", f"Bearer {'a.' * 10_000}", 401),
        ("X-Request-ID", "x" * 30_000, 401),
        ("If-None-Match", '"x",' * 7_000, 401),
        ("Accept-Encoding", "gzip;q=0.1," * 2_000, 401),
    ],
)
async def test_what_fits_but_is_absurd_is_answered(
    client: httpx.AsyncClient, name: str, value: str, status: int
) -> None:
    async with asyncio.timeout(5):
        answer = await client.get("/api/v1/users/me", headers={name: value})
    assert answer.status_code == status
    assert len(answer.headers["x-request-id"]) <= 128


async def test_over_a_socket(app: FastAPI) -> None:
    """The server in front hands on what it reads; the answer is ours."""
    async with serve_here(app) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/livez", headers={"X-Large": "x" * HEADERS})
        assert answer.status_code == 431
        large = await client.post(LOGIN, content=body_of(LIMIT + 1))
        assert large.status_code == 413
        assert (await client.get("/livez")).status_code == 200

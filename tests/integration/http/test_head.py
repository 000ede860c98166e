"""HEAD is GET without the body, for every route and at every server."""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI

from tests.fixtures.servers import serve_here


async def test_headers_are_those_of_get(client: httpx.AsyncClient, account: Any) -> None:
    for path in ("/api/v1/users/me", "/openapi.json", "/docs", "/api/v1/videos"):
        got = await client.get(path, headers=account.headers)
        head = await client.head(path, headers=account.headers)
        assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
        for name in ("content-type", "content-length", "etag", "link", "content-encoding"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)


async def test_who_knows_the_version_is_told(client: httpx.AsyncClient, account: Any) -> None:
    tag = (await client.head("/api/v1/users/me", headers=account.headers)).headers["etag"]
    known = await client.head("/api/v1/users/me", headers={**account.headers, "If-None-Match": tag})
    assert known.status_code == 304


async def test_errors_are_those_of_get(client: httpx.AsyncClient, account: Any) -> None:
    assert (await client.head("/api/v1/users/me")).status_code == 401
    assert (await client.head("/api/v1/nowhere", headers=account.headers)).status_code == 404
    refused = await client.head("/api/v1/auth/login")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")


async def test_a_stream_ends_with_its_headers(app: FastAPI, client: httpx.AsyncClient, account: Any) -> None:
    """Events would come for minutes, to nobody."""
    files = {"file": ("a.txt", b"Cells make energy.")}
    added = await client.post("/api/v1/documents/upload", files=files, headers=account.headers)
    path = f"/api/v1/jobs/{added.json()['job']['id']}/events"
    async with asyncio.timeout(2), serve_here(app) as url, httpx.AsyncClient() as remote:
        head = await remote.head(f"{url}{path}", headers=account.headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


async def test_on_the_wire(app: FastAPI, account: Any) -> None:
    """The length is told and nothing sent, so that the connection is good for the next request."""
    async with serve_here(app) as url, httpx.AsyncClient(headers=account.headers) as remote:
        head = await remote.head(f"{url}/api/v1/users/me")
        got = await remote.get(f"{url}/api/v1/users/me")
    assert int(head.headers["content-length"]) == len(got.content) > 0
    assert got.status_code == 200

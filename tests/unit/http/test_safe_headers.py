"""What every answer tells a browser not to do."""

import base64
import hashlib
import re

import httpx
from fastapi import FastAPI
from starlette.routing import Route


async def test_every_answer_is_safe(client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    answers = [
        await client.get("/livez"),
        await client.get("/api/v1/nowhere"),
        await client.get("/api/v1/test/broken"),
        await client.get("/api/v1/users/me", headers=bearer),
        await client.get("/v1/models"),
        await client.options("/api/v1/auth/login", headers=preflight),
    ]
    assert [one.status_code for one in answers] == [200, 404, 500, 503, 401, 200]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "content-security-policy" not in answer.headers


async def test_the_page_runs_its_own_script_and_no_other(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'", "the page reads /openapi.json and tries routes"
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in rules["script-src"].split()
    assert "'unsafe-inline'" not in rules["script-src"]
    for source in re.findall(r'(?:src|href)="(https://[^/"]+)', page.text):
        assert source in rules["script-src"] + rules["style-src"]
    assert "/openapi.json" in script
    assert (await client.get("/openapi.json")).json()["info"]["title"] == "Little Monster"


async def test_a_page_without_a_policy_may_do_nothing(client: httpx.AsyncClient) -> None:
    page = await client.get("/api/v1/test/page")
    rules = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "frame-ancestors 'none'"} <= set(rules)


async def test_what_an_answer_says_itself_stays(client: httpx.AsyncClient) -> None:
    ready = await client.get("/api/v1/test/kept")
    assert ready.headers.get_list("cache-control") == ["max-age=60"]


async def test_every_route_that_answers_with_a_page_brings_a_policy(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    """Each path with each method, asked by who would take a page, and what is not there at all."""
    pages = set()
    paths = {route.path for route in app.routes if isinstance(route, Route)} | {"/nowhere", "/docs/", "//"}
    for path in sorted(paths):
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = await client.request(method, path, headers={"Accept": "text/html"})
            assert answer.headers["x-content-type-options"] == "nosniff", (method, path)
            if "html" in answer.headers.get("content-type", ""):
                pages.add(path)
                assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert pages == {"/docs", "/api/v1/test/page"}

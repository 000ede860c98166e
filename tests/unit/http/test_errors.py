"""Each error is one problem+json with a stable code, whoever found it."""

from collections.abc import AsyncIterator

import httpx
import pytest

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "code", "errors", "request_id"}


def problem_of(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = response.json()
    assert set(body) == PROBLEM_FIELDS
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:little-monster:problem:{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    return body


async def test_unknown_route(client: httpx.AsyncClient) -> None:
    body = problem_of(await client.get("/api/v1/nowhere"), 404, "unknown_route")
    assert body["instance"] == "/api/v1/nowhere"


async def test_unknown_method_names_the_known_ones(client: httpx.AsyncClient) -> None:
    response = await client.delete("/api/v1/jobs")
    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"


async def test_malformed_json(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    for content in (b'{"email": ', b"\xff\xfe{}", b"[" * 1500):
        response = await client.post("/api/v1/auth/login", content=content, headers=headers)
        assert response.status_code == 400
        assert response.json()["code"] in ("malformed_json", "malformed_request")
    response = await client.post("/api/v1/auth/login", content=b"{nope", headers=headers)
    problem_of(response, 400, "malformed_json")


async def test_invalid_input_lists_each_field_and_repeats_no_value(client: httpx.AsyncClient) -> None:
    body = {"email": "not an address", "password": "s3cret", "display_name": " ", "extra": 1}
    response = await client.post("/api/v1/auth/register", json=body)
    problem = problem_of(response, 422, "invalid_input")
    fields = {error["field"] for error in problem["errors"]}  # type: ignore[attr-defined]
    assert fields == {"body.email", "body.password", "body.display_name", "body.extra"}
    assert "s3cret" not in response.text


async def test_nul_character_is_an_error_of_its_field(client: httpx.AsyncClient) -> None:
    body = {"email": "ada@example.com", "password": "long enough", "display_name": "A\x00da"}
    problem = problem_of(await client.post("/api/v1/auth/register", json=body), 422, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["body.display_name"]  # type: ignore[attr-defined]


async def test_declared_body_over_the_limit(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/auth/login", json={"email": "a" * 3000})
    problem_of(response, 413, "too_large")


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain"]
)
async def test_streamed_body_is_refused_at_the_limit(client: httpx.AsyncClient, content_type: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 512
            yield b"x" * 512

    response = await client.post(
        "/api/v1/auth/login", content=endless(), headers={"content-type": content_type}
    )
    problem_of(response, 413, "too_large")
    assert sent <= 2048 + 2 * 512


async def test_unexpected_error_tells_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/test/broken")
    problem_of(response, 500, "internal_error")
    assert "ada@example.com" not in response.text
    assert "Traceback" not in response.text


async def test_database_away(client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    response = await client.get("/api/v1/users/me", headers=bearer)
    problem_of(response, 503, "unavailable")
    assert response.headers["retry-after"] == "2"


async def test_errors_under_v1_have_the_shape_of_openai(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/nowhere")
    assert response.status_code == 404
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_invalid_path_and_cursor(client: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    problem_of(await client.get("/api/v1/jobs/not-a-uuid", headers=bearer), 422, "invalid_input")
    problem_of(await client.get("/api/v1/jobs?cursor=nonsense", headers=bearer), 422, "invalid_cursor")
    problem_of(await client.get("/api/v1/jobs?limit=101", headers=bearer), 422, "invalid_input")

"""Requests that schemathesis generates from the OpenAPI document, good and bad, with the tokens of two users:
no server error, no answer that the document does not promise, no route that forgets who asks.

`make fuzz` sends some 10,000, other ones each time; otherwise it is some 2,000, the same each time.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from little_monster.platform.http.app import create_app
from little_monster.platform.settings import Settings
from tests.fixtures.servers import serve

EXAMPLES = int(os.environ.get("LM_FUZZ_EXAMPLES", "40"))
IS_LONG = "LM_FUZZ_EXAMPLES" in os.environ
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]
# Metrics and readiness speak for the process, not for the API.
OPERATIONAL = ["/metrics", "/readyz", "/livez"]


def _nothing() -> Any:
    raise AssertionError("the document is made without resources")


schema = schemathesis.openapi.from_dict(create_app(_nothing).openapi())
schema.config.generation.update(max_examples=EXAMPLES)
numbers = count()
answered: set[tuple[str, str]] = set()
"""Routes that gave a good answer about a thing of the asker."""
# What no asker has: the role of an admin, the file of an export that a worker has written, and a feed of the
# planner with its address, after the requests that withdraw it.
REFUSED = {
    "/api/v1/planner/feeds/{feed_id}",
    "/api/v1/admin/users/{user_id}",
    "/api/v1/users/{user_id}/export/{export_id}",
    "/api/v1/planner/calendar/{token}.ics",
}
PDF = (Path(__file__).parents[3] / "configs/samples/biology-photosynthesis.pdf").read_bytes()
EVENT = {"title": "Exam", "start_date": "2026-10-19T09:15:00Z"}


@pytest.fixture(scope="module")
def url(settings: Settings, app_of: Callable[..., FastAPI]) -> Iterator[str]:
    limits = ("requests", "login_attempts", "login_attempts_per_account")
    unlimited = {f"{name}_per_minute": 10**9 for name in limits}
    api = settings.api.model_copy(update={**unlimited, "job_stream_s": 0.01})
    with serve(app_of(settings.model_copy(update={"api": api}))) as url:
        yield url


@dataclass(frozen=True)
class Visitor:
    """Somebody with a thing of every kind that a path names, by the name that it has there."""

    headers: dict[str, str]
    ids: dict[str, str]


@pytest.fixture(scope="module")
async def visitors(url: str, postgres: Any) -> list[Visitor]:
    """Two users."""
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=30) as client:
        return [await _visit(client, postgres) for _ in range(2)]


async def _visit(client: httpx.AsyncClient, postgres: Any) -> Visitor:
    body = {"email": f"{uuid4()}@example.com", "password": "correct horse battery", "display_name": "Ada"}
    registered = (await client.post("/auth/register", json=body)).json()
    user_id, token = registered["user"]["id"], registered["tokens"]["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"

    async def make(path: str, **sent: Any) -> Any:
        response = await client.post(path, **sent)
        assert response.status_code < 300, response.text
        return response.json()

    added = await make("/documents/upload", files={"file": ("a.pdf", PDF + uuid4().hex.encode())})
    video = await make("/videos", json={"title": "Cells", "topic": "Walls", "subject": "biology"})
    named = {"video_id": video["id"]}
    comment = await make("/comments", json={**named, "text": "Clear."})
    await make("/ratings", json={**named, "stars": 5})
    feed = await make("/planner/feed")
    script = await make("/auth/tokens", json={"name": "a", "scopes": ["read"]})
    conversation = (await make("/chat/conversations", json={}))["id"]
    question = {"content": "What is a cell?"}
    asked = await client.post(f"/chat/conversations/{conversation}/messages", json=question)
    ids = {
        "user_id": user_id,
        "document_id": added["document"]["id"],
        "chunk_id": await _read(postgres, user_id, added["document"]["id"]),
        "page": "1",
        "job_id": added["job"]["id"],
        "export_id": (await make("/users/me/export"))["id"],
        "conversation_id": conversation,
        "run_id": asked.headers["content-location"].rpartition("/")[2],
        "video_id": video["id"],
        "comment_id": comment["id"],
        "event_id": (await make("/planner/events", json=EVENT))["id"],
        "feed_id": feed["id"],
        "token": feed["url"].rpartition("/")[2].removesuffix(".ics"),
        "token_id": script["details"]["id"],
        "session_id": (await client.get("/auth/sessions")).json()["items"][0]["id"],
        "notification_id": await _notify(postgres, user_id),
        "model": "tiny",
    }
    return Visitor({"Authorization": f"Bearer {token}"}, ids)


async def _notify(postgres: Any, user_id: str) -> str:
    """Tell the user something, which no route does."""
    owner = await asyncpg.connect(postgres.owner_url)
    insert = "INSERT INTO notifications (id, user_id, kind, title) VALUES ($1, $2, 'test', 'T')"
    notification_id = uuid4()
    await owner.execute(insert, notification_id, user_id)
    await owner.close()
    return str(notification_id)


async def _read(postgres: Any, user_id: str, document_id: str) -> str:
    """Give a document a passage, as a worker would."""
    owner = await asyncpg.connect(postgres.owner_url)
    insert = (
        "INSERT INTO document_chunks (id, user_id, document_id, chunk_index, content, content_hash,"
        " token_count, start_offset, end_offset, boxes) VALUES ($1, $2, $3, 0, 'Cells.', '0', 2, 0, 6, $4)"
    )
    chunk_id = uuid4()
    await owner.execute(insert, chunk_id, user_id, document_id, "[[1, 0, 6, 73, 700, 200, 714]]")
    await owner.close()
    return str(chunk_id)


@schema.exclude(path=OPERATIONAL).parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=not IS_LONG,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_generated_requests(case: Any, url: str, visitors: list[Visitor]) -> None:
    number = next(numbers)
    asker, other = visitors if number // 2 % 2 else visitors[::-1]
    named = number % 2 and case.method != "DELETE" and _is_good(case)
    if named:
        # One's own three times of four.
        ids = other.ids if number // 4 % 4 == 3 else asker.ids
        if "/users/" in case.path and "/admin/" not in case.path and number // 16 % 2:
            ids = {**ids, "user_id": "me"}
        case.path_parameters = {
            name: ids.get(name, value) for name, value in (case.path_parameters or {}).items()
        }
    response = case.call_and_validate(base_url=url, headers=asker.headers, checks=CHECKS, timeout=30)
    if named and response.status_code < 300:
        answered.add((case.method, case.path))


def _is_good(case: Any) -> bool:
    return bool(case.meta and case.meta.generation.mode == GenerationMode.POSITIVE)


def test_there_were_many() -> None:
    """Runs last: the numbers are not what was hoped for when a filter eats the requests."""
    sent = next(numbers)
    print(f"{sent} requests")
    assert sent > 2_000


def test_every_thing_was_shown() -> None:
    """Else no good answer of its route was held against the schema."""
    shown = {path for path, methods in schema.raw_schema["paths"].items() if "{" in path and "get" in methods}
    assert shown - REFUSED <= {path for method, path in answered if method == "GET"}

"""Requests that schemathesis generates from the OpenAPI document, good and bad, with the tokens of two users:
no server error, no answer that the document does not promise, no route that forgets who asks.

`make fuzz` sends some 10,000, other ones each time; otherwise it is some 2,000, the same each time.
"""

import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import uuid4

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


@pytest.fixture(scope="module")
def url(settings: Settings, app_of: Callable[..., FastAPI]) -> Iterator[str]:
    limits = ("requests", "login_attempts", "login_attempts_per_account")
    unlimited = {f"{name}_per_minute": 10**9 for name in limits}
    api = settings.api.model_copy(update={**unlimited, "job_stream_s": 0.01})
    with serve(app_of(settings.model_copy(update={"api": api}))) as url:
        yield url


@pytest.fixture(scope="module")
def visitors(url: str) -> list[dict[str, str]]:
    """The headers of two users."""
    return [{"Authorization": f"Bearer {_register(url)}"} for _ in range(2)]


def _register(url: str) -> str:
    body = {"email": f"{uuid4()}@example.com", "password": "correct horse battery", "display_name": "Ada"}
    token: str = httpx.post(f"{url}/api/v1/auth/register", json=body).json()["tokens"]["access_token"]
    return token


@pytest.fixture(scope="module")
def ids(url: str, visitors: list[dict[str, str]]) -> dict[str, str]:
    """Things of the first user, for what the paths name."""
    files = {"file": ("a.txt", uuid4().hex.encode())}
    added = httpx.post(f"{url}/api/v1/documents/upload", files=files, headers=visitors[0]).json()
    begun = httpx.post(f"{url}/api/v1/chat/conversations", json={}, headers=visitors[0]).json()
    return {
        "user_id": "me",
        "document_id": added["document"]["id"],
        "job_id": added["job"]["id"],
        "conversation_id": begun["id"],
        "model": "tiny",
    }


@schema.exclude(path=OPERATIONAL).parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=not IS_LONG,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_generated_requests(case: Any, url: str, visitors: list[dict[str, str]], ids: dict[str, str]) -> None:
    number = next(numbers)
    if number % 2 and case.method != "DELETE" and _is_good(case):
        case.path_parameters = {
            name: ids.get(name, value) for name, value in (case.path_parameters or {}).items()
        }
    case.call_and_validate(base_url=url, headers=visitors[number // 2 % 2], checks=CHECKS, timeout=30)


def _is_good(case: Any) -> bool:
    return bool(case.meta and case.meta.generation.mode == GenerationMode.POSITIVE)


def test_there_were_many() -> None:
    """Runs last: the numbers are not what was hoped for when a filter eats the requests."""
    sent = next(numbers)
    print(f"{sent} requests")
    assert sent > 2_000

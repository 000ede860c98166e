"""The OpenAPI document says everything that a client has to know."""

from typing import Any

import pytest
from fastapi import FastAPI

HEALTH = ("/livez", "/readyz", "/metrics")
PUBLIC = {
    *HEALTH,
    "/.well-known/jwks.json",
    "/api/v1/planner/calendar/{token}.ics",
    *(
        f"/api/v1/auth/{name}"
        for name in (
            "register",
            "login",
            "refresh-token",
            "logout",
            "verify-email",
            "password/reset",
            "password/reset/request",
        )
    ),
}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def test_each_operation_is_described(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        assert operation.get("summary"), (method, path)
        assert operation.get("description"), (method, path)
        assert operation.get("tags"), (method, path)
        good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert good, (method, path)


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_each_operation_lists_its_problems(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if path in HEALTH:
            continue
        responses = operation["responses"]
        assert {"413", "422", "429", "500", "503"} <= set(responses), (method, path)
        for status, answer in responses.items():
            if status.startswith(("4", "5")):
                kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
                assert list(answer["content"]) == [kind], (method, path, status)


def test_each_operation_but_the_public_ones_needs_a_token(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, method, operation in operations(document):
        if path in PUBLIC:
            assert "security" not in operation, (method, path)
        else:
            assert operation["security"] == [{"bearer": []}], (method, path)
            assert "401" in operation["responses"], (method, path)


def test_references_resolve(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Problem", "OpenAIError"} <= set(schemas)
    for name in _references(document):
        assert name in schemas
    assert "HTTPValidationError" not in schemas


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(_references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(inner) for inner in value))
    return set()

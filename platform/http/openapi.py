"""The OpenAPI document, completed with what FastAPI cannot know: the schemas of errors, and the headers of
conditional requests."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from little_monster.platform.errors import MalformedJson
from little_monster.platform.http.etags import NOT_MODIFIED
from little_monster.platform.http.schemas.problems import OpenAIError, Problem

DESCRIPTION = """A self-hosted study platform: upload what you study, ask, and read cited answers.

Errors are `application/problem+json` (RFC 9457) with a stable `code`; under `/v1` they have OpenAI's shape.
Every answer carries `X-Request-ID` and `traceparent`. Lists come in pages: pass `next_cursor` as `cursor`.

What has an `ETag` is answered with 304 to `If-None-Match`, and changed only while `If-Match` names it."""

_ETAG = {"description": "Stands for this version of the resource.", "schema": {"type": "string"}}
_MALFORMED = f"{MalformedJson.title} (`{MalformedJson.code}`)"
_REF = "#/components/schemas/{model}"


def make_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of `app`, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        app.openapi_schema = _with_conditions(_with_lists(_with_malformed(_with_problems(document))))
    return app.openapi_schema


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, made = models_json_schema(
        [(Problem, "serialization"), (OpenAIError, "serialization")], ref_template=_REF
    )
    schemas.update(made["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _with_malformed(document: dict[str, Any]) -> dict[str, Any]:
    """Declare the answer to a body that is no JSON, in the shape of an operation's other errors."""
    for methods in document["paths"].values():
        for operation in methods.values():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                content = operation["responses"]["422"]["content"]
                operation["responses"]["400"] = {"description": _MALFORMED, "content": content}
    return document


def _with_lists(document: dict[str, Any]) -> dict[str, Any]:
    """Declare that lists have tags, which `list_tags` gives them."""
    for methods in document["paths"].values():
        answer = methods.get("get", {}).get("responses", {})
        schema = answer.get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if schema.get("$ref", "").startswith(_REF.format(model="Listing_")):
            answer.update({str(status): one for status, one in NOT_MODIFIED.items()})
    return document


def _with_conditions(document: dict[str, Any]) -> dict[str, Any]:
    """Declare the headers that `etags` reads and writes, by the answers that an operation declares."""
    for methods in document["paths"].values():
        for operation in methods.values():
            responses = operation["responses"]
            if "304" in responses:
                _add_header(operation, "If-None-Match", "Answer 304 when it is still one of these versions.")
            if "412" in responses:
                _add_header(operation, "If-Match", "Answer 412 unless it is still one of these versions.")
            if ("304" in responses or "412" in responses) and "200" in responses:
                responses["200"]["headers"] = {"ETag": _ETAG}
    return document


def _add_header(operation: dict[str, Any], name: str, description: str) -> None:
    parameter = {
        "name": name,
        "in": "header",
        "required": False,
        "description": f"{description} Entity tags (RFC 9110), or `*`.",
        "schema": {"type": "string"},
        "example": '"3b1c-6423f0a9d1c40"',
    }
    operation.setdefault("parameters", []).append(parameter)

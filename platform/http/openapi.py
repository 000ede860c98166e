"""The OpenAPI document, completed with what FastAPI cannot know: the schemas of errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from little_monster.platform.http.schemas.problems import OpenAIError, Problem

DESCRIPTION = """A self-hosted study platform: upload what you study, ask, and read cited answers.

Errors are `application/problem+json` (RFC 9457) with a stable `code`; under `/v1` they have OpenAI's shape.
Every answer carries `X-Request-ID` and `traceparent`. Lists come in pages: pass `next_cursor` as `cursor`."""

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
        app.openapi_schema = _with_problems(document)
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

"""Turns every error into one shape: `application/problem+json` (RFC 9457), or OpenAI's shape under `/v1`."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from little_monster.db.errors import DatabaseUnavailable, DiskFull, IncompatibleIndex, MissingParent
from little_monster.platform.errors import (
    FieldProblem,
    InvalidInput,
    MalformedJson,
    NotFound,
    ProblemError,
    RangeNotSatisfiable,
    StorageFull,
    Unavailable,
)
from little_monster.platform.http.context import context_of
from little_monster.platform.http.etags import REVALIDATE, NotModified
from little_monster.platform.security import invalid_token

PROBLEM_JSON = "application/problem+json"
INTERNAL = ProblemError("Something went wrong on our side. The request id helps to find it.")

# What the framework itself answers, in our words; other statuses keep HTTP's phrase.
_FRAMEWORK = {
    400: ("malformed_request", "The request could not be read."),
    404: ("unknown_route", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not know this method; `Allow` lists those that it knows."),
    413: ("too_large", "The body is larger than is accepted here."),
}
# Foreign keys are named so by `db.base`: the last of a row's owners to go is the user.
_OWNER_KEY = "_user_id_fkey"
# What follows in these paths is a secret.
_SECRET_PATHS = ("/api/v1/planner/calendar/",)
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_log = structlog.get_logger(__name__)


class _ProblemResponse(JSONResponse):
    media_type = PROBLEM_JSON


def problem_response(request: Request, error: ProblemError) -> JSONResponse:
    """Return the answer that tells a client about `error`."""
    return _answer(
        request, error.status, error.code, error.title, error.detail, error.errors, _headers_of(error)
    )


def add_exception_handlers(app: FastAPI) -> None:
    """Let `app` answer every error that is expected; `ObserveMiddleware` answers the others with
    `INTERNAL`."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_framework_error)
    app.add_exception_handler(DatabaseUnavailable, _on_part_away)
    app.add_exception_handler(DiskFull, _on_disk_full)
    # It is being filled anew.
    app.add_exception_handler(IncompatibleIndex, _on_part_away)
    app.add_exception_handler(RedisError, _on_part_away)
    app.add_exception_handler(MissingParent, _on_missing_parent)
    app.add_exception_handler(NotModified, _on_not_modified)


def problem_responses(*classes: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of an operation that may raise `classes`."""
    return _responses(classes, PROBLEM_JSON, "Problem")


def openai_responses(*classes: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """Return the same for an operation under `/v1`, where errors have OpenAI's shape."""
    return _responses(classes, "application/json", "OpenAIError")


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem_response(request, error)


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem_response(request, MalformedJson("The body is not JSON."))
    # The wrong values stay out of the answer: a password may be among them.
    fields: list[FieldProblem] = [{"field": _place(one["loc"]), "message": str(one["msg"])} for one in found]
    return problem_response(request, InvalidInput("The request breaks a rule; see `errors`.", errors=fields))


async def _on_framework_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    code, detail = _FRAMEWORK.get(error.status_code, (title.lower().replace(" ", "_"), str(error.detail)))
    headers = dict(error.headers or {})
    if "GET" in (allowed := headers.get("Allow", "")).split(", "):
        # `HeadMiddleware` answers it wherever GET is answered.
        headers["Allow"] = f"{allowed}, HEAD"
    return _answer(request, error.status_code, code, title, detail, [], headers)


async def _on_part_away(request: Request, error: Exception) -> JSONResponse:
    _log.warning("part_away", error=type(error).__name__, reason=str(error))
    return problem_response(
        request, Unavailable("A part that is needed does not answer now. Try again soon.", retry_after_s=2)
    )


async def _on_disk_full(request: Request, error: Exception) -> JSONResponse:
    _log.error("disk_full", reason=str(error))
    return problem_response(
        request,
        StorageFull(
            "The disk of the database is full: whoever runs this has to make room there; then try again.",
            retry_after_s=60,
        ),
    )


async def _on_missing_parent(request: Request, error: Exception) -> JSONResponse:
    """Answer whose thing was deleted while they added to it; without an account, nobody is logged in."""
    assert isinstance(error, MissingParent)
    if error.constraint.endswith(_OWNER_KEY):
        return problem_response(request, invalid_token())
    return problem_response(request, NotFound("What this belongs to is not there."))


async def _on_not_modified(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NotModified)
    return Response(status_code=304, headers={"ETag": error.tag, "Cache-Control": REVALIDATE})


def _answer(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: list[FieldProblem],
    headers: dict[str, str],
) -> JSONResponse:
    context = context_of(request)
    context.error_code = code
    path = request.url.path
    if path.startswith("/v1/"):
        return JSONResponse(_openai_body(status, code, detail, errors), status, headers)
    body = {
        "type": f"urn:little-monster:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": _instance(path),
        "code": code,
        "errors": errors,
        "request_id": context.request_id,
    }
    return _ProblemResponse(body, status, headers)


def _instance(path: str) -> str:
    return next((one for one in _SECRET_PATHS if path.startswith(one)), path)


def _openai_body(status: int, code: str, detail: str, errors: list[FieldProblem]) -> dict[str, Any]:
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    message = "; ".join([detail, *(f"{one['field']}: {one['message']}" for one in errors)])
    param = errors[0]["field"].removeprefix("body.") if errors else None
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _headers_of(error: ProblemError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _responses(
    classes: tuple[type[ProblemError], ...], media_type: str, schema: str
) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int | str, list[type[ProblemError]]] = {}
    for one in classes:
        by_status.setdefault(one.status, []).append(one)
    return {
        status: {
            "description": " / ".join(f"{one.title} (`{one.code}`)" for one in those),
            "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        }
        for status, those in by_status.items()
    }

"""What happens around every request, from the outside in: who calls, CORS, observation, the limit of the
body. Plain ASGI, so that streams pass through untouched and a client that goes away is seen at once."""

import re
import time
from abc import ABC, abstractmethod
from typing import Any, cast
from uuid import UUID

import structlog
from fastapi import HTTPException, Request
from opentelemetry.trace import Span, Status, StatusCode
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from little_monster.platform.errors import HeadersTooLarge
from little_monster.platform.http.addresses import set_peer
from little_monster.platform.http.context import RequestContext, set_context
from little_monster.platform.http.exception_handlers import INTERNAL, problem_response
from little_monster.platform.http.safe_headers import safe_headers
from little_monster.platform.logs import bound, log_access
from little_monster.platform.metrics import count_request
from little_monster.platform.resources import Resources
from little_monster.platform.services.planner.imports import MAX_BYTES as MAX_IMPORT_BYTES
from little_monster.platform.settings import ApiSettings
from little_monster.platform.telemetry import server_span, trace_headers, trace_id_of

REQUEST_ID = "X-Request-ID"
UPLOAD_PATH = "/api/v1/documents/upload"
# More than a server reads at once, so that the upload route sees its own limit passed first.
UPLOAD_SLACK_BYTES = 2**20
# A calendar file is no JSON, and larger than what else comes in one piece.
IMPORT_PATH = "/api/v1/planner/import"
# The status that a log has of a request whose client went before the first byte of the answer.
CLIENT_GONE = 499

# UUIDs, trace ids and their like: none of our tokens and no password anybody can remember is written so.
_GIVEN_ID = re.compile(r"[0-9A-Fa-f-]{8,36}")
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
_EXPOSED = (
    "X-Request-ID",
    "traceparent",
    "Location",
    "Link",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "ETag",
)

_HEADERS = HeadersTooLarge("The path and the headers are larger than this server reads.")
_log = structlog.get_logger("little_monster.http")


class _LateMiddleware(ABC):
    """A middleware that is made by the settings, which are there only after the lifespan has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._inner: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if self._inner is None:
            self._inner = self._build(_resources(scope).settings.api)
        await self._inner(scope, receive, send)

    @abstractmethod
    def _build(self, settings: ApiSettings) -> ASGIApp: ...


class LateCORSMiddleware(_LateMiddleware):
    """Starlette's CORS with the origins of the settings."""

    def _build(self, settings: ApiSettings) -> ASGIApp:
        origins = settings.cors_origins
        if not origins:
            return self._app
        return _CORS(
            self._app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=(
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Last-Event-ID",
                REQUEST_ID,
            ),
            expose_headers=_EXPOSED,
        )


class _CORS(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer as Starlette does, safely: this answer passes nobody else."""
        response = super().preflight_response(request_headers)
        response.raw_headers += safe_headers(response.raw_headers)
        return response


class LateProxyMiddleware(_LateMiddleware):
    """uvicorn's reading of `X-Forwarded-For`, with the proxies of the settings. What the connection itself
    says stays to be known, as `addresses.py` needs it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        set_peer(scope)
        await super().__call__(scope, receive, send)

    def _build(self, settings: ApiSettings) -> ASGIApp:
        proxies = [str(one) for one in settings.trusted_proxies]
        if not proxies:
            return self._app
        return cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, self._app), proxies))


class ObserveMiddleware:
    """Gives each request an id and a span, logs and counts its answer, and answers what nobody else could.

    The log line holds the route's template and a keyed hash of the user: nothing personal.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = RequestContext(_request_id(headers.get(REQUEST_ID)))
        set_context(scope, context)
        with server_span(scope["method"], headers) as span:
            context.trace_id = trace_id_of(span)
            token = bound.set({"request_id": context.request_id, "trace_id": context.trace_id})
            try:
                await _Observation(scope, context, span).run(self._app, receive, send)
            finally:
                bound.reset(token)


class _Observation:
    """One request being observed."""

    def __init__(self, scope: Scope, context: RequestContext, span: Span) -> None:
        self._scope, self._context, self._span = scope, context, span
        self._trace = trace_headers(span)
        self._started = time.perf_counter()
        self._status = 0

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._begin(message)
            await send(message)

        try:
            await app(self._scope, receive, send_observed)
        except ClientDisconnect:
            # Nobody is left to be answered; the log line says so with its status.
            return
        except Exception as error:
            _log.exception("unexpected_error", error=type(error).__name__)
            if self._status:
                # Half an answer is out: only breaking the connection tells the client that it is not whole.
                raise
            answer = problem_response(Request(self._scope), INTERNAL)
            await answer(self._scope, receive, send_observed)
        finally:
            self._end()

    def _begin(self, message: Message) -> None:
        self._status = message["status"]
        added = {REQUEST_ID: self._context.request_id, **self._trace, **self._context.headers}
        headers = message["headers"]
        message["headers"] = [
            *headers,
            *safe_headers(headers),
            *((name.lower().encode(), value.encode()) for name, value in added.items()),
        ]

    def _end(self) -> None:
        seconds = time.perf_counter() - self._started
        status = self._status or CLIENT_GONE
        method, route = self._scope["method"], _route_of(self._scope)
        count_request(method, route, status, seconds)
        self._finish_span(method, route, status)
        line = self._line(method, route, status, seconds)
        if route in _QUIET_ROUTES:
            _log.debug("request", **line)
        else:
            log_access(**line)

    def _finish_span(self, method: str, route: str, status: int) -> None:
        if not self._span.is_recording():
            return
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))

    def _line(self, method: str, route: str, status: int, seconds: float) -> dict[str, str | float]:
        line: dict[str, str | float] = {
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        principal = self._context.principal
        if principal is not None:
            line["user"] = _resources(self._scope).tokens.pseudonym(principal.user_id)
        if self._context.error_code is not None:
            line["code"] = self._context.error_code
        return line


class BodyLimitMiddleware:
    """Refuses headers over their limit (431), and a body over its own (413): at once when its length is
    declared, else while it streams in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _header_bytes(scope) > _resources(scope).settings.api.max_header_bytes:
            await problem_response(Request(scope), _HEADERS)(scope, receive, send)
            return
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        limit = _body_limit(scope)
        length = Headers(scope=scope).get("content-length", "")
        declared = int(length) if length.isdecimal() else 0
        seen = 0

        async def receive_limited() -> Message:
            nonlocal seen
            if declared > limit:
                raise _too_large(limit)
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, receive_limited, send)


def _header_bytes(scope: Scope) -> int:
    named = sum(len(name) + len(value) for name, value in scope["headers"])
    return named + len(scope["path"]) + len(scope["query_string"])


def _too_large(limit: int) -> HTTPException:
    # An HTTPException, as FastAPI turns any other error of reading a body into a 400.
    return HTTPException(413, f"The body is larger than {limit} bytes.")


def _body_limit(scope: Scope) -> int:
    settings = _resources(scope).settings
    if scope["path"] == UPLOAD_PATH:
        # The upload route counts the file itself; this bounds the form around it.
        return settings.upload.max_bytes + UPLOAD_SLACK_BYTES
    if scope["path"] == IMPORT_PATH:
        return max(MAX_IMPORT_BYTES, settings.api.max_body_bytes)
    return settings.api.max_body_bytes


def _resources(scope: Scope) -> Resources:
    resources: Resources = scope["app"].state.resources
    return resources


def _request_id(given: str | None) -> str:
    """Take the client's id when it cannot be a secret that was sent by mistake, else make one."""
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given
    made: UUID = uuid7()
    return made.hex


def _route_of(scope: Scope) -> str:
    """Return the template of the matched route; paths as such would make one metric a document."""
    return getattr(scope.get("route"), "path", "unmatched")

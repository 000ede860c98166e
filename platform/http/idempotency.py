"""`Idempotency-Key`: a repeated POST is answered with the first answer (IETF
draft-ietf-httpapi-idempotency-key-header).

A router made with `route_class=IdempotentRoute` acts on the routes that declare
`dependencies=[Idempotent]`. Answers with a 2xx status and a whole body are kept for 24 hours under their
owner; refusals free the key, and so do streams, which are not kept. After a failure that may have created
something the key stays taken until its claim ends, as to repeat the request could create it twice.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from redis.asyncio import Redis
from starlette.exceptions import HTTPException

from little_monster.db.errors import CommitUnknown, DatabaseError
from little_monster.platform import permissions
from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.errors import Conflict, InvalidInput, ProblemError
from little_monster.platform.http.context import context_of
from little_monster.platform.http.dependencies import (
    idempotency_key,
    identify,
    limit_requests,
    resources_of,
)
from little_monster.platform.http.uploads import FormFile
from little_monster.platform.security import Principal

KEEP_S = 24 * 3600
# As long as the slowest upload may take; after it a replica that died no longer blocks the key.
IN_FLIGHT_S = 600
REPLAYED = "Idempotent-Replayed"
MAX_KEY_CHARS = 200

_PREFIX = "lm:idempotency"
_KEPT_HEADERS = ("content-type", "location", "link", "etag")

# Refusals, and failures of a transaction that was rolled back; but for `CommitUnknown`.
_CREATED_NOTHING = (ProblemError, RequestValidationError, HTTPException, DatabaseError)

_log = structlog.get_logger(__name__)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route that answers a repeated POST once, when it depends on `dependencies.idempotency_key`."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        if not _declares_key(self.dependant):
            return handler

        async def handle(request: Request) -> Response:
            key = request.headers.get("idempotency-key")
            if not key or len(key) > MAX_KEY_CHARS:
                return await handler(request)
            # Before the route's own dependencies, which a replay does not come to.
            await limit_requests(request)
            principal = await identify(request)
            if principal is None:
                return await handler(request)
            permissions.require_scope(principal, permissions.WRITE)
            return await _once(request, _slot(request, key, principal), handler)

        return handle


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the answer to a key is kept."""

    redis: Redis
    name: str

    async def take(self, fingerprint: str) -> dict[str, Any] | None:
        """Claim the slot, or return what stands in it."""
        claim = json.dumps({"fingerprint": fingerprint, "answer": None})
        if await self.redis.set(self.name, claim, nx=True, ex=IN_FLIGHT_S):
            return None
        held = await self.redis.get(self.name)
        return json.loads(held) if held else await self.take(fingerprint)

    async def keep(self, fingerprint: str, form: str | None, response: Response) -> None:
        """Keep an answer, and which form it answers. What was created is created, so that Redis being away
        now is no reason to fail."""
        answer = {
            "status": response.status_code,
            "headers": {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
            "body": base64.b64encode(response.body).decode(),
            "form": form,
        }
        value = json.dumps({"fingerprint": fingerprint, "answer": answer})
        try:
            await self.redis.set(self.name, value, ex=KEEP_S)
        except REDIS_AWAY as error:
            _log.warning("idempotent_answer_not_kept", error=type(error).__name__)

    async def free(self) -> None:
        try:
            await self.redis.delete(self.name)
        except REDIS_AWAY as error:
            _log.warning("idempotency_key_not_freed", error=type(error).__name__)


async def forget_answers(redis: Redis, user_id: UUID) -> None:
    """Remove every answer that is kept for a user whose account is gone; with Redis away they expire."""
    try:
        async for name in redis.scan_iter(f"{_PREFIX}:{user_id}:*", count=1000):
            await redis.delete(name)
    except REDIS_AWAY as error:
        _log.warning("idempotent_answers_not_forgotten", error=type(error).__name__)


async def _once(request: Request, slot: _Slot, handler: Handler) -> Response:
    """Answer in a task of its own: a client that goes away must not cut between what is created and its
    answer, which is kept for when the client asks again."""
    fingerprint = await _fingerprint(request)
    work = resources_of(request).background.hold(_answer(request, slot, fingerprint, handler))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if _still_comes_in(request):
            work.cancel()
        work.add_done_callback(_log_failure)
        raise


async def _answer(request: Request, slot: _Slot, fingerprint: str, handler: Handler) -> Response:
    held = await slot.take(fingerprint)
    if held is not None:
        return await _replay(request, held, fingerprint)
    try:
        response = await handler(request)
    except CommitUnknown:
        raise
    except _CREATED_NOTHING:
        await slot.free()
        raise
    except asyncio.CancelledError:
        if _still_comes_in(request):
            await slot.free()
        raise
    if 200 <= response.status_code < 300 and getattr(response, "body", None):
        await slot.keep(fingerprint, context_of(request).form_digest, response)
    else:
        await slot.free()
    return response


async def _replay(request: Request, held: dict[str, Any], fingerprint: str) -> Response:
    if held["fingerprint"] != fingerprint:
        raise _used_for_another()
    answer = held["answer"]
    if answer is None:
        raise Conflict(
            "The first request with this Idempotency-Key is still being answered.", code="in_flight"
        )
    if _is_form(request) and await _read_form(request) != answer["form"]:
        raise _used_for_another()
    return Response(
        base64.b64decode(answer["body"]), answer["status"], {**answer["headers"], REPLAYED: "true"}
    )


async def _fingerprint(request: Request) -> str:
    """Return what tells one request to a route from another: its query and body. A form is not read ahead, as
    it may be large; its own digest tells it from others when it has been read."""
    digest = hashlib.sha256(f"{request.url.query}\n".encode())
    if not _is_form(request):
        digest.update(await request.body())
    return digest.hexdigest()


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/")


def _still_comes_in(request: Request) -> bool:
    return _is_form(request) and context_of(request).form_digest is None


async def _read_form(request: Request) -> str | None:
    """Read a form that nobody needs, and return its digest."""
    async for _ in FormFile(request, resources_of(request).settings.upload.max_bytes).chunks():
        pass
    return context_of(request).form_digest


def _log_failure(work: asyncio.Task[Response]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _log.warning("unheard_answer_failed", error=type(error).__name__)


def _used_for_another() -> InvalidInput:
    return InvalidInput(
        "This Idempotency-Key was used for another request.",
        code="idempotency_key_reused",
        errors=[{"field": "header.Idempotency-Key", "message": "was used for another request"}],
    )


def _slot(request: Request, key: str, principal: Principal) -> _Slot:
    # A key belongs to its user and its route: clients count from 1 for each.
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n{key}".encode()).hexdigest()
    return _Slot(resources_of(request).redis, f"{_PREFIX}:{principal.user_id}:{digest}")


def _declares_key(dependant: Dependant) -> bool:
    return any(one.call is idempotency_key or _declares_key(one) for one in dependant.dependencies)

"""`Idempotency-Key`: a repeated POST is answered with the first answer (IETF
draft-ietf-httpapi-idempotency-key-header).

A router made with `route_class=IdempotentRoute` acts on the routes that declare
`dependencies=[Idempotent]`. Answers with a 2xx status and a whole body are kept for 24 hours under their
owner; others free the key. Streams are not kept.
"""

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
from fastapi.routing import APIRoute
from redis.asyncio import Redis

from little_monster.platform import permissions
from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.errors import Conflict, InvalidInput
from little_monster.platform.http.dependencies import idempotency_key, identify, resources_of
from little_monster.platform.security import Principal

KEEP_S = 24 * 3600
# As long as the slowest upload may take; after it a replica that died no longer blocks the key.
IN_FLIGHT_S = 600
REPLAYED = "Idempotent-Replayed"
MAX_KEY_CHARS = 200

_PREFIX = "lm:idempotency"
_KEPT_HEADERS = ("content-type", "location", "link", "etag")

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
            principal = await identify(request)
            if not key or len(key) > MAX_KEY_CHARS or principal is None:
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

    async def keep(self, fingerprint: str, response: Response) -> None:
        """Keep an answer. What was created is created, so that Redis being away now is no reason to fail."""
        answer = {
            "status": response.status_code,
            "headers": {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
            "body": base64.b64encode(response.body).decode(),
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
    fingerprint = await _fingerprint(request)
    held = await slot.take(fingerprint)
    if held is not None:
        return _replay(held, fingerprint)
    try:
        response = await handler(request)
    except BaseException:
        await slot.free()
        raise
    if 200 <= response.status_code < 300 and getattr(response, "body", None):
        await slot.keep(fingerprint, response)
    else:
        await slot.free()
    return response


def _replay(held: dict[str, Any], fingerprint: str) -> Response:
    if held["fingerprint"] != fingerprint:
        raise InvalidInput(
            "This Idempotency-Key was used for another request.",
            code="idempotency_key_reused",
            errors=[{"field": "header.Idempotency-Key", "message": "was used for another request"}],
        )
    answer = held["answer"]
    if answer is None:
        raise Conflict(
            "The first request with this Idempotency-Key is still being answered.", code="in_flight"
        )
    return Response(
        base64.b64decode(answer["body"]), answer["status"], {**answer["headers"], REPLAYED: "true"}
    )


async def _fingerprint(request: Request) -> str:
    """Return what tells one request to a route from another: its query and body. A form's body is not read
    ahead, as it may be large and its boundary differs between repetitions; its length stands for it."""
    digest = hashlib.sha256(f"{request.url.query}\n".encode())
    if request.headers.get("content-type", "").startswith("multipart/"):
        digest.update(request.headers.get("content-length", "").encode())
    else:
        digest.update(await request.body())
    return digest.hexdigest()


def _slot(request: Request, key: str, principal: Principal) -> _Slot:
    # A key belongs to its user and its route: clients count from 1 for each.
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n{key}".encode()).hexdigest()
    return _Slot(resources_of(request).redis, f"{_PREFIX}:{principal.user_id}:{digest}")


def _declares_key(dependant: Dependant) -> bool:
    return any(one.call is idempotency_key or _declares_key(one) for one in dependant.dependencies)

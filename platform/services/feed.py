"""The first page of the feed, kept in Redis for five minutes: everybody opens it, and the same for all.

Only public videos are kept. The policy shows a public video to everybody, so that an answer of public videos
alone depends on the filters and on nobody: the key needs no viewer. Whatever else is listed (drafts, what
moderators see) depends on who asks and on the role they have at that moment: it never goes in here, so that
no key could ever give one user what another sees.

A change of a video that is or was public ends all that is kept, by a new version: an answer that was read
before a change and is kept after it carries the old version, and nobody takes it. What is counted (ratings,
views, comments) may be five minutes behind; so may everything when Redis was away just as a video changed.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from little_monster.db.models.videos import VideoStatus
from little_monster.db.repositories.videos import VideoFilter, VideoOrder
from little_monster.platform.cache import REDIS_AWAY

KEPT_S = 300
SLOTS = 128
"""Pages that are kept at most, each at the place that a hash of its filters gives it: whoever asks for ever
new filters puts them in the place of others, and fills no memory."""
VERSION = "lm:feed:version"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an answer is kept, for which version of the feed and which filters, and the answer if there is
    one."""

    key: str
    stamp: bytes
    body: bytes | None


async def find(redis: Redis, wanted: VideoFilter, order: VideoOrder, limit: int) -> Slot | None:
    """Return the slot of a first page; None when it is not one for everybody, or when Redis is away."""
    if wanted.status is not VideoStatus.PUBLIC or wanted.words is not None:
        return None
    digest = _digest(wanted, order, limit)
    key = f"lm:feed:{int(digest, 16) % SLOTS}"
    # Its types say text; the answers of our clients are bytes.
    commands: Any = redis
    try:
        found: list[bytes | None] = await commands.mget(VERSION, key)
    except REDIS_AWAY as error:
        _log.warning("feed_not_read", error=type(error).__name__)
        return None
    stamp = (found[0] or b"0") + b" " + digest.encode()
    kept_for, _, body = (found[1] or b"").partition(b"\n")
    return Slot(key, stamp, body if kept_for == stamp else None)


async def keep(redis: Redis, slot: Slot, body: str) -> None:
    """Keep the answer that was read after the slot was found."""
    try:
        await redis.set(slot.key, slot.stamp + b"\n" + body.encode(), ex=KEPT_S)
    except REDIS_AWAY as error:
        _log.warning("feed_not_kept", error=type(error).__name__)


async def forget(redis: Redis) -> None:
    """End all that is kept; called after the commit of a change."""
    try:
        await redis.incr(VERSION)
    except REDIS_AWAY as error:
        _log.warning("feed_not_forgotten", error=type(error).__name__)


def _digest(wanted: VideoFilter, order: VideoOrder, limit: int) -> str:
    parts = [wanted.created_by, wanted.subject, wanted.difficulty, *sorted({*wanted.tags})]
    text = json.dumps([order, limit, *(part and str(part) for part in parts)])
    return hashlib.sha256(text.encode()).hexdigest()

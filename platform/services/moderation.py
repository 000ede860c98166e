"""The verdict on a text that others are to see: asked for when it is written, and again while it waits."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis

from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.repositories import comments, pending, videos
from little_monster.db.repositories.pending import Pending, Waiting
from little_monster.db.session import Database
from little_monster.platform.engines.protocols import Moderator
from little_monster.platform.errors import Unavailable
from little_monster.platform.services import feed

BATCH: Final = 50
# One text may be too much for the model, which is no reason to leave the others; several are.
_MAX_FAILURES: Final = 3

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What moderation says of a text."""

    status: ModerationStatus
    reason: str | None = None


async def moderate(moderator: Moderator, text: str, *, timeout_s: float) -> Verdict:
    """Return what moderation says; while it is away, that the text waits."""
    try:
        async with asyncio.timeout(timeout_s):
            [result] = await moderator.classify([text])
    except (Unavailable, TimeoutError) as error:
        _log.warning("text_not_moderated", error=type(error).__name__)
        return Verdict(ModerationStatus.PENDING)
    if result.flagged:
        return Verdict(ModerationStatus.FLAGGED, f"Automatic moderation: {', '.join(result.categories)}")
    return Verdict(ModerationStatus.APPROVED)


async def retry_pending(
    database: Database, moderator: Moderator, redis: Redis, *, timeout_s: float, batch: int = BATCH
) -> int:
    """Ask once more for a verdict on each comment and video that waits, the oldest first, and return how many
    got one. 0 also when somebody else is at it.

    It may be repeated, stopped and run by many: a verdict is written once, and only on the text it is about.
    Ends early while moderation is away.

    Raises:
        DatabaseUnavailable: what has its verdict keeps it.
    """
    judged = failures = 0
    # Its transaction is the turn; it ends with its connection, however this ends.
    async with database.session(None) as turn:
        if not await pending.take_turn(turn):
            return 0
        async for kind, waiting in _all_pending(database, batch):
            done = await _retry(database, moderator, redis, kind, waiting, timeout_s)
            judged += done is True
            failures = failures + 1 if done is None else 0
            if failures == _MAX_FAILURES:
                break
    if judged:
        _log.info("pending_moderated", judged=judged)
    return judged


async def _all_pending(database: Database, batch: int) -> AsyncIterator[tuple[Pending, Waiting]]:
    for kind in Pending:
        after = None
        while True:
            async with database.session(None) as session:
                found = await pending.find(session, kind, limit=batch, after=after)
            for waiting in found:
                yield kind, waiting
            if len(found) < batch:
                break
            after = found[-1].key


async def _retry(
    database: Database, moderator: Moderator, redis: Redis, kind: Pending, waiting: Waiting, timeout_s: float
) -> bool | None:
    """Return whether it has its verdict now; None when moderation is away."""
    if kind is Pending.COMMENTS:
        return await _retry_comment(database, moderator, waiting, timeout_s)
    return await _retry_video(database, moderator, redis, waiting, timeout_s)


async def _retry_comment(
    database: Database, moderator: Moderator, waiting: Waiting, timeout_s: float
) -> bool | None:
    comment = await comments.read(database, waiting.owner, waiting.id)
    if comment is None or comment.moderation_status is not ModerationStatus.PENDING:
        return False
    verdict = await moderate(moderator, comment.text, timeout_s=timeout_s)
    if verdict.status is ModerationStatus.PENDING:
        return None
    async with database.session(waiting.owner) as session:
        return await comments.judge_text(session, comment.id, comment.text, verdict.status, verdict.reason)


async def _retry_video(
    database: Database, moderator: Moderator, redis: Redis, waiting: Waiting, timeout_s: float
) -> bool | None:
    video = await videos.read(database, waiting.owner, waiting.id)
    if video is None or video.moderation_status is not ModerationStatus.PENDING:
        return False
    verdict = await moderate(moderator, videos.said(video), timeout_s=timeout_s)
    if verdict.status is ModerationStatus.PENDING:
        return None
    async with database.session(waiting.owner) as session:
        judged = await videos.judge(session, video, verdict.status, verdict.reason)
    if judged and verdict.status is ModerationStatus.APPROVED:
        await feed.forget(redis)
    return judged

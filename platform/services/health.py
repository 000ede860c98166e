"""Whether each part that answers need is there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from little_monster.platform.errors import ProblemError
from little_monster.platform.resources import Resources

TIMEOUT_S = 5.0

_log = structlog.get_logger(__name__)
Check = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part: whether it answers, after how many milliseconds, and what it said when not."""

    ok: bool
    ms: float
    error: str | None = None


async def check_parts(resources: Resources, timeout_s: float = TIMEOUT_S) -> dict[str, PartHealth]:
    """Ask all parts at once, each for at most `timeout_s` seconds."""
    checks = checks_of(resources)
    found = await asyncio.gather(*(_check(name, check, timeout_s) for name, check in checks.items()))
    return dict(zip(checks, found, strict=True))


def checks_of(resources: Resources) -> dict[str, Check]:
    """Return how to ask each part, by its name; chat models are `chat:{name}`."""
    return {
        "database": resources.database.check,
        "redis": resources.redis.ping,
        "storage": resources.storage.check,
        "index": resources.index.check,
        "embedding": resources.embedder.describe,
        "moderation": lambda: resources.moderator.classify(["Are you there?"]),
        **{f"chat:{name}": model.check for name, model in resources.chat_models.items()},
    }


async def _check(name: str, check: Check, timeout_s: float) -> PartHealth:
    started = time.perf_counter()
    error = None
    try:
        await asyncio.wait_for(check(), timeout_s)
    except TimeoutError:
        error = f"no answer in {timeout_s:g} s"
    except Exception as failure:
        error = _describe(failure)
        _log.warning("part_not_ready", part=name, error=type(failure).__name__, reason=str(failure))
    return PartHealth(error is None, round((time.perf_counter() - started) * 1000, 1), error)


def _describe(failure: Exception) -> str:
    """Say what is safe to show to anybody: our own words, else the kind of error; drivers quote hosts and
    users."""
    return failure.detail if isinstance(failure, ProblemError) else type(failure).__name__

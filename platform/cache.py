"""Redis or Valkey: how a client is opened, and what counts as its absence."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

__all__ = ["REDIS_AWAY", "Redis", "open_redis"]

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0

# A socket that is not there raises OSError from some commands and RedisError from others.
REDIS_AWAY = (RedisError, OSError, TimeoutError)


def open_redis(url: str) -> Redis:
    """Return a client of `url` (`redis://`, `rediss://`, `unix://`) that connects with its first command.

    One retry bridges a restart of the server; answers are bytes. `blocking` reads must stay below
    `COMMAND_TIMEOUT_S`.
    """
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=COMMAND_TIMEOUT_S,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=1),
    )

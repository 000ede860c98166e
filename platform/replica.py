"""The replica of the database, by the settings: how it is opened, and what is told of it."""

from dataclasses import replace

import structlog
from redis.asyncio import Redis

from little_monster.db.engine import Options, connector, create_engine
from little_monster.db.replica import Replica
from little_monster.db.server import Server
from little_monster.platform.last_writes import LastWrites
from little_monster.platform.metrics import DATABASE_READS, REPLICA_USED
from little_monster.platform.settings import DatabaseSettings

# Whoever waits for the replica could have an answer of the primary: much shorter than for that.
_POOL_TIMEOUT_S = 0.1
_CONNECT_TIMEOUT_S = 1.0

_log = structlog.get_logger(__name__)


class ReplicaObserver:
    """Counts and logs."""

    def answered(self, *, by_replica: bool) -> None:
        """Count a read."""
        DATABASE_READS.labels("replica" if by_replica else "primary").inc()

    def changed(self, reason: str | None) -> None:
        """Log that the replica is used from now on, or why not."""
        REPLICA_USED.set(reason is None)
        if reason is None:
            _log.info("replica_used")
        else:
            _log.warning("replica_not_used", reason=reason)


def open_replica(settings: DatabaseSettings, redis: Redis, options: Options) -> Replica | None:
    """Return the replica of the settings, if there is one; nothing connects yet.

    Args:
        options: how the primary is connected to.
    """
    if settings.url is None or settings.replica_url is None:
        return None
    url = settings.replica_url.get_secret_value()
    hurried = replace(options, pool_timeout_s=_POOL_TIMEOUT_S, connect_timeout_s=_CONNECT_TIMEOUT_S)
    return Replica(
        Server(create_engine(url, hurried)),
        primary=connector(settings.url.get_secret_value(), hurried),
        replica=connector(url, hurried),
        writes=LastWrites(redis, settings.replica_max_lag_s),
        max_lag_s=settings.replica_max_lag_s,
        observer=ReplicaObserver(),
    )

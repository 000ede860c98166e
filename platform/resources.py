"""What the services work with, opened once by a process and closed in reverse."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

from pydantic import SecretStr
from redis.asyncio import Redis

from little_monster.db.engine import Options, create_engine
from little_monster.db.session import Database
from little_monster.db.vectors.index import VectorIndex
from little_monster.platform.background import Background
from little_monster.platform.cache import open_redis
from little_monster.platform.encryption import Cipher
from little_monster.platform.engines.protocols import ChatModel, Embedder, Moderator, PageRenderer, Retriever
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.foreign_tokens import ForeignTokens
from little_monster.platform.mail import Mailer, open_mailer
from little_monster.platform.rate_limits import RateLimiter
from little_monster.platform.rendering.processes import RenderingProcesses
from little_monster.platform.replica import open_replica
from little_monster.platform.security import AccessTokens, PasswordHasher
from little_monster.platform.settings import Settings
from little_monster.platform.storage import FileStorage, open_storage


@dataclass(frozen=True)
class Resources:
    """Everything outside of this process that a service may use, and what is made of the settings alone.

    `chat_models` by the name that clients ask for; the first is the default.
    """

    settings: Settings
    database: Database
    redis: Redis
    storage: FileStorage
    chat_models: Mapping[str, ChatModel]
    embedder: Embedder
    retriever: Retriever
    moderator: Moderator
    index: VectorIndex

    @cached_property
    def passwords(self) -> PasswordHasher:
        """Hashes and verifies passwords."""
        return PasswordHasher(self.settings.auth.hash_concurrency)

    @cached_property
    def tokens(self) -> AccessTokens:
        """Issues and reads access tokens."""
        return AccessTokens(self.settings.auth)

    @cached_property
    def foreign_tokens(self) -> ForeignTokens:
        """Reads the tokens of other issuers."""
        return ForeignTokens(self.settings.auth.issuers)

    @cached_property
    def cipher(self) -> Cipher:
        """Encrypts the secrets of second factors."""
        return Cipher(self.settings.auth)

    @cached_property
    def mailer(self) -> Mailer:
        """Sends mail."""
        return open_mailer(self.settings)

    @cached_property
    def page_renderer(self) -> PageRenderer:
        """Makes images of pages."""
        return RenderingProcesses()

    @cached_property
    def background(self) -> Background:
        """Runs what nobody waits for."""
        return Background()

    @cached_property
    def limiter(self) -> RateLimiter:
        """Counts requests."""
        return RateLimiter(self.redis)


@asynccontextmanager
async def open_resources(
    settings: Settings,
    *,
    chat_models: Mapping[str, ChatModel],
    embedder: Embedder,
    retriever: Retriever,
    moderator: Moderator,
    index: VectorIndex,
) -> AsyncIterator[Resources]:
    """Open database, Redis and storage around the given engines. Opening does not connect: `/readyz` says
    what is there.

    Raises:
        ConfigurationError: a URL or the secret is missing.
    """
    async with AsyncExitStack() as stack:
        redis = open_redis(redis_url(settings))
        stack.push_async_callback(redis.aclose)
        database = open_database(settings, redis)
        stack.push_async_callback(database.close)
        storage = open_storage(storage_url(settings))
        resources = Resources(
            settings, database, redis, storage, chat_models, embedder, retriever, moderator, index
        )
        # A missing secret or a wrong URL must stop the start, not the first log-in or message.
        _ = resources.tokens, resources.mailer
        # It works with what is closed after it.
        stack.push_async_callback(resources.background.drain)
        database.follow_replica()
        yield resources


def storage_url(settings: Settings) -> str:
    """Return where files are kept: the setting, else `files/` of the data folder."""
    return settings.storage.url or (settings.data_dir.resolve() / "files").as_uri()


def open_database(settings: Settings, redis: Redis | None = None) -> Database:
    """Return the database of the settings; nothing connects yet.

    Args:
        redis: where writes are noted; without it nothing is read from a replica.

    Raises:
        ConfigurationError: the URL is missing.
    """
    database = settings.database
    url = _needed("LM_DATABASE__URL", database.url)
    options = Options(
        pool_size=database.pool_size,
        pool_timeout_s=database.pool_timeout_s,
        connect_timeout_s=database.pool_timeout_s,
        statement_timeout_ms=database.statement_timeout_ms,
        transaction_pooler=database.transaction_pooler,
    )
    replica = open_replica(database, redis, options) if redis is not None else None
    return Database(create_engine(url, options), replica)


def direct_url(settings: Settings) -> str:
    """Return the database's URL past a pooler, whose connections belong to nobody for long: for who listens.

    Raises:
        ConfigurationError: the URL is missing.
    """
    return _needed("LM_DATABASE__URL", settings.database.direct_url or settings.database.url)


def redis_url(settings: Settings) -> str:
    """Return the URL of Redis.

    Raises:
        ConfigurationError: it is missing.
    """
    return _needed("LM_REDIS__URL", settings.redis.url)


def _needed(name: str, value: SecretStr | None) -> str:
    if value is None:
        raise ConfigurationError(
            f"{name}: is needed here; `little-monster up` sets it for the embedded services"
        )
    return value.get_secret_value()

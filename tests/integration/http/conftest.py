"""The application over real PostgreSQL, Valkey, file storage and vector index; only the models are fakes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis

from little_monster.db.base import new_id
from little_monster.db.models import VideoStatus
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.platform.engines.fakes import FakeChatModel, FakeEmbedder, FakeModerator, FakeRetriever
from little_monster.platform.http.app import create_app
from little_monster.platform.resources import Resources, open_resources
from little_monster.platform.settings import Settings
from tests.fixtures.videos import draft, show
from tests.fixtures.watch import NAME, PASSWORD, WATCH


@dataclass(frozen=True)
class Account:
    """Somebody who registered, with what the answer held."""

    email: str
    user: dict[str, Any]
    tokens: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}


@pytest.fixture(scope="session")
def settings(postgres: Any, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        _env_file=None,
        environment="test",
        data_dir=tmp_path_factory.mktemp("http"),
        database={"url": SecretStr(postgres.app_url), "pool_size": 4},
        redis={"url": SecretStr(valkey_url)},
        auth={"secret": SecretStr("integration-secret-0123456789abcdef")},
        # Nothing works on the jobs of most tests.
        api={"job_stream_s": 5},
        # Tests flush the views themselves.
        content={"view_flush_s": 3600},
    )


def _app_of(settings: Settings, **engines: Any) -> FastAPI:
    """Make an application, whose lifespan opens everything; `engines` replace the fakes."""

    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        folder: Path = settings.data_dir / f"index-{new_id()}"
        index = EdgeIndex(folder, "passages", 64)
        parts: dict[str, Any] = {
            "chat_models": {"tiny": FakeChatModel()},
            "embedder": FakeEmbedder(),
            "retriever": FakeRetriever(),
            "moderator": FakeModerator(),
            "index": index,
            **engines,
        }
        async with open_resources(settings, **parts) as opened:
            yield opened
        await index.close()

    return create_app(resources)


@asynccontextmanager
async def _running(settings: Settings, **engines: Any) -> AsyncIterator[FastAPI]:
    """Run the application; `engines` replace the fakes."""
    app = _app_of(settings, **engines)
    async with app.router.lifespan_context(app):
        yield app


def _client_of(app: FastAPI) -> httpx.AsyncClient:
    # An address of its own, so that no test is refused for the requests of another.
    transport = httpx.ASGITransport(app=app, client=(str(new_id()), 1234))
    return httpx.AsyncClient(
        transport=transport, base_url="http://test", event_hooks={"response": [WATCH.see]}
    )


@pytest.fixture(scope="session")
def app_of() -> Callable[..., FastAPI]:
    """Make an application for who runs its lifespan in a loop of their own."""
    return _app_of


@pytest.fixture
def running() -> Callable[..., AbstractAsyncContextManager[FastAPI]]:
    """Run an application with other settings or engines than the shared one."""
    return _running


@pytest.fixture(scope="session")
def client_of() -> Callable[..., httpx.AsyncClient]:
    """Make a client of an application, at an address of its own."""
    return _client_of


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application of most tests. When all have run, what they made private has leaked nowhere."""
    WATCH.hear()
    async with _running(settings) as app:
        yield app
        async with _client_of(app) as client:
            metrics = (await client.get("/metrics")).text
    assert WATCH.found(metrics) == []


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with _client_of(app) as client:
        yield client


@pytest.fixture
def register(client: httpx.AsyncClient) -> Callable[[], Awaitable[Account]]:
    async def make() -> Account:
        email = f"{new_id()}@example.com"
        body = {"email": email, "password": PASSWORD, "display_name": NAME}
        response = await client.post("/api/v1/auth/register", json=body)
        assert response.status_code == 201, response.text
        return Account(email, **response.json())

    return make


@pytest.fixture
def register_as(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Account]], postgres: Any
) -> Callable[[str], Awaitable[Account]]:
    """Make an account with a role, which only the tables' owner gives."""

    async def make(role: str) -> Account:
        account = await register()
        owner = await asyncpg.connect(postgres.owner_url)
        await owner.execute("UPDATE users SET role = $1 WHERE id = $2", role, account.user["id"])
        await owner.close()
        body = {"email": account.email, "password": PASSWORD}
        response = await client.post("/api/v1/auth/login", json=body)
        assert response.status_code == 200, response.text
        return Account(account.email, **response.json())

    return make


@pytest.fixture
def log_in(client: httpx.AsyncClient) -> Callable[..., Awaitable[httpx.Response]]:
    """Log in with the password of `register`, or with what else is given."""

    async def make(email: str, **body: str) -> httpx.Response:
        json = {"email": email, "password": PASSWORD, **body}
        return await client.post("/api/v1/auth/login", json=json)

    return make


@pytest.fixture
def mail_to(settings: Settings, app: FastAPI) -> Callable[..., Awaitable[list[Message]]]:
    """Return the messages to an address, the oldest first."""

    async def read(email: str, subject: str = "") -> list[Message]:
        await app.state.resources.background.drain()
        paths = sorted((settings.data_dir / "outbox").glob("*.eml"))
        messages = [message_from_bytes(path.read_bytes()) for path in paths]
        return [one for one in messages if one["To"] == email and subject in str(one["Subject"])]

    return read


@pytest.fixture
def code_of() -> Callable[[Message], str]:
    """Return the code that a message carries: its one indented line."""

    def find(message: Message) -> str:
        lines = str(message.get_payload()).splitlines()
        (code,) = [line.strip() for line in lines if line.startswith("    ")]
        return code

    return find


@pytest.fixture
async def account(register: Callable[[], Awaitable[Account]]) -> Account:
    return await register()


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as redis:
        yield redis


@pytest.fixture
def new_video(database: Any) -> Callable[..., Awaitable[str]]:
    """Make a video of an account, past the API, which makes drafts only."""

    async def make(account: Any, status: VideoStatus = VideoStatus.PUBLIC) -> str:
        user_id = UUID(account.user["id"])
        async with database.session(user_id) as session:
            video = await draft(session, user_id)
            await show(session, video.id, status)
        return str(video.id)

    return make

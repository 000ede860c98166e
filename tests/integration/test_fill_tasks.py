"""Passages to vectors with Ray Data: tasks read PostgreSQL, an actor has the model."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import ray

from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.pipelines import reembed
from little_monster.pipelines.fill import FillOptions, RayFill, ranges
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.reconcile import ReconcileParts
from little_monster.pipelines.reembed import ReembedParts
from little_monster.platform.engines.fakes import FakeEmbedder
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.services.vector_index import Action, Change
from tests.fixtures.models import name_models
from tests.fixtures.shelves import Ground, House, open_ground, open_house


@pytest.fixture(scope="module")
async def ground(postgres: Any) -> AsyncIterator[Ground]:
    async with open_ground(postgres) as ground:
        yield ground


@pytest.fixture(scope="module")
def cluster(ground: Ground) -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="lm-ray-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        # What the tasks read of their settings.
        patch.setenv("LM_DATABASE__URL", ground.url)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            _temp_dir=str(folder),
            log_to_driver=False,
            configure_logging=False,
        )
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def house(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    name_models(monkeypatch, tmp_path, "small", "large")
    async with open_house(ground, tmp_path) as house:
        yield house


def load(source: str) -> Any:
    """An engine for the actor; made here, as it must not be imported there."""

    embedder = FakeEmbedder(96 if source == "large" else 64)

    class Words:
        info = embedder.info

        @property
        def background(self) -> Any:
            return self

        def encode(self, texts: list[str]) -> Any:
            return numpy.asarray([embedder._embed(text) for text in texts], dtype=numpy.float32)

    return Words()


class _Models(FakeEmbedder):
    """`large` has more numbers."""

    async def describe(self, source: str = "") -> EmbedderInfo:
        name = source or "small"
        return EmbedderInfo(name, name, 96 if name == "large" else 64, 256)

    async def embed(self, texts: Any, *, source: str = "", urgent: bool = False) -> list[list[float]]:
        return [vector.tolist() for vector in load(source).encode([*texts])]


async def test_a_collection_is_filled_in_order_by_a_model_of_its_own(house: House, cluster: None) -> None:
    house.embedder = _Models()
    users = [await house.user() for _ in range(3)]
    for number in range(30):
        await house.add(users[number % 3], f"About {number}.\n\nMore of {number}.\n\nMost of {number}.")
    todo = [one async for one in ranges(house.database, None, chunks=10)]
    assert (len(todo), sum(one.chunks for one in todo)) == (8, 90)

    fill = RayFill(load, FillOptions(cpus=0.5, batch=16))
    batches = [batch async for batch in fill("large", todo)]
    filled = [one for batch in batches for one in batch]
    assert len({one.chunk_id for one in filled}) == len(filled) == 90
    assert {len(one.vector) for one in filled} == {96}
    # So that it is known how far they go.
    assert [one.range for one in filled] == sorted(one.range for one in filled)

    admin = await house.user()
    async with house.database.session(admin) as session:
        change = Change(Action.REEMBED, "large").payload()
        job = await jobs.create(session, user_id=admin, kind=reembed.KIND, payload=change)
    async with house.database.session(None) as session:
        claimed = await jobs.begin(session, job.id, worker="worker")
    assert claimed is not None
    parts = ReembedParts(ReconcileParts(house.database, house.storage, house.shelf), fill)
    assert await reembed.run_job(Lease(house.database, claimed, "worker"), parts) == JobStatus.COMPLETED
    live = await house.shelf.live()
    assert (live.row.model, live.row.dimension) == ("large", 96)
    assert [await live.index.count(user) for user in users] == [30] * 3
    assert (await house.search(users[1], "about 4"))[0].content == "About 4."


async def test_who_stops_to_take_vectors_stops_the_work(house: House, cluster: None) -> None:
    user = await house.user()
    for number in range(4):
        await house.add(user, f"About {number}.")
    todo = [one async for one in ranges(house.database, None, chunks=1)]
    vectors = RayFill(load, FillOptions(cpus=0.5))("small", todo)
    assert await anext(vectors)
    await vectors.aclose()

"""Another embedding model takes the place of one that is searched all the while."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from little_monster.db.models.embedding_collections import CollectionState
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import embedding_collections, jobs
from little_monster.db.vectors.index import Query
from little_monster.pipelines import fill as filling
from little_monster.pipelines import reembed
from little_monster.pipelines.drift import Seen, differences
from little_monster.pipelines.fill import Embedded, EmbedderFill, Range
from little_monster.pipelines.gate import Evaluation
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.reconcile import ReconcileParts
from little_monster.pipelines.reembed import ReembedParts
from little_monster.pipelines.stages.tokens import load_counter
from little_monster.platform.engines.fakes import TOKENIZER, FakeEmbedder
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.services.vector_index import Action, Change
from tests.fixtures.models import name_models
from tests.fixtures.shelves import Ground, House, open_ground, open_house

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

SUBJECTS = ("cells", "light", "kings", "rivers", "prices", "stars", "verbs", "atoms")


class Embedders(FakeEmbedder):
    """Several models of different dimensions by their sources; the configured one is `small`. What is `dull`
    calls everything the same; `brief` and `short` read little, and nothing of a text behind that."""

    DIMENSIONS: ClassVar = {"small": 64, "large": 96, "dull": 64, "brief": 64, "short": 64}
    READ: ClassVar = {"brief": 32, "short": 2}

    def __init__(self) -> None:
        super().__init__()
        self._models = {name: FakeEmbedder(size) for name, size in self.DIMENSIONS.items()}
        self.loaded: list[str] = []

    async def describe(self, source: str = "") -> EmbedderInfo:
        name = source or "small"
        if name not in self._models:
            raise ConfigurationError(f"model source {name}: no such folder")
        return EmbedderInfo(name, name, self.DIMENSIONS[name], self.READ.get(name, 256))

    async def load(self, source: str) -> None:
        await self.describe(source)
        self.loaded.append(source)

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        name = source or "small"
        if name == "dull":
            return [[1.0] + [0.0] * 63 for _ in texts]
        if name in self.READ:
            texts = [self._beginning(text, self.READ[name]) for text in texts]
        return await self._models[name].embed(texts)

    def _beginning(self, text: str, read: int) -> str:
        counter = load_counter(TOKENIZER)
        ends = counter.ends(text)[: read - counter.special_tokens]
        return text[: ends[-1]]


class Filler(EmbedderFill):
    """Has something happen between the vectors of a range and who writes them; it may break off."""

    def __init__(self, house: House, happen: Any = None) -> None:
        super().__init__(house.database, house.embedder)
        self._happen = happen

    async def __call__(self, source: str, ranges: Sequence[Range]) -> AsyncGenerator[list[Embedded], None]:
        async for batch in super().__call__(source, ranges):
            if self._happen is not None:
                await self._happen(batch[0].range)
            yield batch


@dataclass(frozen=True)
class Scores:
    ndcg: float
    questions: int


@dataclass(frozen=True)
class Entry:
    title: str
    text: str


@dataclass(frozen=True)
class Dataset:
    corpus: dict[str, Entry]


def read_dataset(folder: Path) -> Dataset:
    if not folder.exists():
        raise FileNotFoundError(folder)
    return Dataset({name: Entry("", f"About {name} there is much to say.") for name in SUBJECTS})


async def evaluate(dataset: Dataset, find: Any) -> Scores:
    """Each question has one answer, which should come first."""
    firsts = [(await find(f"much about {name}"))[0] == name for name in SUBJECTS]
    return Scores(sum(firsts) / len(firsts), len(firsts))


@pytest.fixture(scope="module")
async def ground(postgres: Any) -> AsyncIterator[Ground]:
    async with open_ground(postgres) as ground:
        yield ground


@pytest.fixture(params=["edge", "server"])
async def house(ground: Ground, tmp_path: Path, request: Any) -> AsyncIterator[House]:
    async with open_house(ground, tmp_path, kind=request.param) as house:
        house.embedder = Embedders()
        yield house


@pytest.fixture
async def edge_house(ground: Ground, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(ground, tmp_path) as house:
        house.embedder = Embedders()
        yield house


@pytest.fixture(autouse=True)
def named_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    name_models(monkeypatch, tmp_path / "models", *Embedders.DIMENSIONS)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few documents are many ranges."""
    ranges = filling.ranges
    monkeypatch.setattr(reembed, "ranges", lambda database, after: ranges(database, after, chunks=1))


def parts_of(house: House, happen: Any = None) -> ReembedParts:
    reconciling = ReconcileParts(house.database, house.storage, house.shelf)
    return ReembedParts(reconciling, Filler(house, happen), Evaluation(read_dataset, evaluate))


async def request(house: House, change: Change) -> UUID:
    admin = await house.user()
    async with house.database.session(admin) as session:
        job = await jobs.create(session, user_id=admin, kind=reembed.KIND, payload=change.payload())
    return job.id


async def run(house: House, job_id: UUID, parts: ReembedParts | None = None) -> JobStatus | None:
    async with house.database.session(None) as session:
        claimed = await jobs.begin(session, job_id, worker="worker")
    assert claimed is not None
    return await reembed.run_job(Lease(house.database, claimed, "worker"), parts or parts_of(house))


async def do(house: House, action: Action, parts: ReembedParts | None = None, **more: Any) -> Job:
    job_id = await request(house, Change(action, **more))
    await run(house, job_id, parts)
    return await read(house, job_id)


async def read(house: House, job_id: UUID) -> Job:
    owner = await house.owner.fetchval("SELECT user_id FROM jobs WHERE id = $1", job_id)
    async with house.database.session(owner) as session:
        job = await jobs.get(session, job_id)
    assert job is not None
    return job


async def states(house: House) -> dict[str, str]:
    """Return the model of the collection in each state."""
    async with house.database.session(None) as session:
        return {row.state: row.model for row in await embedding_collections.list(session)}


async def library(house: House) -> tuple[UUID, list[UUID]]:
    user = await house.user()
    return user, [await house.add(user, f"About {name}.\n\nMore of {name}.", name) for name in SUBJECTS]


async def test_another_model_takes_the_place_of_the_first(house: House) -> None:
    user, documents = await library(house)
    await house.reconcile()
    job = await do(house, Action.REEMBED, source="large")
    assert job.status == JobStatus.COMPLETED, job.error_reason
    assert await states(house) == {"live": "large", "previous": "small"}
    live = await house.shelf.live()
    assert (live.row.dimension, await live.index.count(user)) == (96, 16)
    assert job.result == {"collection": live.row.name, "model": "large"}
    assert (job.done, job.total, job.unit) == (16, 16, "chunks") or job.progress == 1.0
    assert house.embedder.loaded == ["large"]  # type: ignore[attr-defined]
    for name, document in zip(SUBJECTS, documents, strict=True):
        assert (await house.search(user, f"about {name}"))[0].document_id == document


async def test_no_search_fails_or_finds_nothing_meanwhile(house: House) -> None:
    user, documents = await library(house)
    stop, searches, models = asyncio.Event(), 0, set()
    # One process of many, which believes what it has read for a moment.
    shelf = house.shelf

    async def search_on() -> None:
        nonlocal searches
        from little_monster.platform.services.retrieval import search_passages

        while not stop.is_set():
            name, document = SUBJECTS[searches % 8], documents[searches % 8]
            live = await shelf.live()
            models.add(live.row.model)
            found = await search_passages(
                live.embedder, live.index, house.database, user, f"about {name}", limit=3
            )
            assert found[0].document_id == document
            searches += 1

    searching = asyncio.create_task(search_on())
    for change in (
        Change(Action.REEMBED, "large"),
        Change(Action.ROLLBACK),
        Change(Action.DROP_OLD),
        Change(Action.REBUILD),
    ):
        job_id = await request(house, change)
        assert await run(house, job_id) == JobStatus.COMPLETED, (await read(house, job_id)).error_reason
        await asyncio.sleep(1.2)
    stop.set()
    await searching
    assert searches > 50
    assert models == {"small", "large"}


async def test_what_comes_goes_and_changes_meanwhile_is_as_it_should_be(
    edge_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = edge_house
    user, documents = await library(house)
    new: list[UUID] = []
    switch, at_the_switch = reembed._switch, list[int]()

    async def look_and_switch(parts: ReembedParts, state: CollectionState) -> None:
        at_the_switch.extend((await house.points(user)).values())
        await switch(parts, state)

    monkeypatch.setattr(reembed, "_switch", look_and_switch)

    async def happen(number: int) -> None:
        if number == 3:
            # Read already, but not yet written; written already; and not yet read.
            for gone in (documents[3], documents[0], documents[6]):
                await house.delete(gone)
            new.append(await house.add(user, "About late.\n\nMore of late.", "late"))

    job = await do(house, Action.REEMBED, parts_of(house, happen), source="large")
    assert job.status == JobStatus.COMPLETED, job.error_reason
    # Nobody ever searches a collection that lacks something.
    assert at_the_switch == [12, 12]
    await house.reconcile()
    rest = [one for one in documents if one not in (documents[3], documents[0], documents[6])] + new
    points = await house.points(user)
    assert len(points) == 2
    assert set(points.values()) == {12}
    for document in rest:
        assert set((await house.points(user, document)).values()) == {2}
    assert (await house.search(user, "about late"))[0].document_id == new[0]


async def test_a_model_that_reads_less_finds_the_end_of_a_passage(house: House) -> None:
    user = await house.user()
    begun = "The same words stand at the beginning of each of these passages. " * 4
    documents = [await house.add(user, f"{begun}{name} end it.", name) for name in SUBJECTS]
    rows = "SELECT * FROM document_chunks ORDER BY id"
    before = await house.owner.fetch(rows)

    async def nearest(name: str) -> UUID:
        live = await house.shelf.live()
        [vector] = await live.embedder.embed([f"{name} end it"])
        # By the vector alone: terms are found whatever the model reads.
        return (await live.index.search(user, Query(vector), limit=1))[0].document_id

    job = await do(house, Action.REEMBED, source="brief")
    assert job.status == JobStatus.COMPLETED, job.error_reason
    assert (await house.shelf.live()).row.max_tokens == 32
    assert [await nearest(name) for name in SUBJECTS] == documents
    # Whoever searches the one before has his passages, and the way back is open.
    assert await house.owner.fetch(rows) == before
    # As what is repaired, and what is filled anew.
    await (await house.shelf.live()).index.delete_owner(user)
    assert (await do(house, Action.ROLLBACK)).status == JobStatus.COMPLETED
    assert (await do(house, Action.ROLLBACK)).status == JobStatus.COMPLETED
    assert [await nearest(name) for name in SUBJECTS] == documents
    await do(house, Action.DROP_OLD)
    assert (await do(house, Action.REBUILD)).status == JobStatus.COMPLETED
    assert [await nearest(name) for name in SUBJECTS] == documents


async def test_a_worse_model_is_refused_with_the_numbers(edge_house: House, tmp_path: Path) -> None:
    house = edge_house
    user, _ = await library(house)
    job = await do(house, Action.REEMBED, source="dull", dataset=str(tmp_path), tolerance=0.05)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "worse_model")
    assert job.error_reason == (
        "nDCG@10 of dull is 0.1250, of small 1.0000, over 8 questions; 0.0500 less is tolerated"
    )
    assert await states(house) == {"live": "small"}
    assert set((await house.points(user)).values()) == {16}
    tolerated = await do(house, Action.REEMBED, source="dull", dataset=str(tmp_path), tolerance=0.9)
    assert tolerated.status == JobStatus.COMPLETED
    assert tolerated.result is not None
    assert (tolerated.result["ndcg_old"], tolerated.result["ndcg_new"]) == (1.0, 0.125)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"source": "missing"}, "model_not_found"),
        ({"source": "small"}, "same_model"),
        ({"source": "short"}, "model_unfit"),
        ({"source": "large", "dataset": "/nowhere"}, "dataset_unreadable"),
    ],
)
async def test_what_cannot_be_is_refused(edge_house: House, more: dict[str, Any], code: str) -> None:
    house = edge_house
    user = await house.user()
    await house.add(user, "One passage of five tokens.")
    job = await do(house, Action.REEMBED, **more)
    assert (job.status, job.error_code) == (JobStatus.FAILED, code)
    assert await states(house) == {"live": "small"}


async def test_back_to_the_model_before_and_away_with_it(house: House) -> None:
    user, documents = await library(house)
    await do(house, Action.REEMBED, source="large")
    late = await house.add(user, "About late.", "late")
    await house.delete(documents[0])
    # The one that is kept must be dropped before there is another.
    refused = await do(house, Action.REBUILD)
    assert refused.error_code == "previous_kept"
    back = await do(house, Action.ROLLBACK)
    assert back.status == JobStatus.COMPLETED, back.error_reason
    assert await states(house) == {"live": "small", "previous": "large"}
    assert (await house.search(user, "about late"))[0].document_id == late
    assert (await house.shelf.live()).row.name == "passages"
    dropped = await do(house, Action.DROP_OLD)
    assert dropped.status == JobStatus.COMPLETED, dropped.error_reason
    assert await states(house) == {"live": "small"}
    assert (await do(house, Action.DROP_OLD)).error_code == "no_previous"
    assert (await do(house, Action.ROLLBACK)).error_code == "no_previous"


async def test_a_rebuilt_index_finds_the_same(house: House) -> None:
    user, _ = await library(house)
    other = await house.user()
    await house.add(other, "About cells of others.", "cells")

    async def results() -> list[list[tuple[Any, ...]]]:
        return [
            [(one.chunk_id, round(one.score, 6), one.content, one.page) for one in found]
            for who in (user, other)
            for found in [await house.search(who, f"more about {name}", 9) for name in SUBJECTS]
        ]

    before = await results()
    live = await house.shelf.live()
    # All that the index has is lost.
    await house.collections.drop(live.row.name, live.row.dimension)
    assert await results() != before
    job = await do(house, Action.REBUILD)
    assert job.status == JobStatus.COMPLETED, job.error_reason
    assert await results() == before


@pytest.mark.parametrize("moment", ["filling", "switched"])
async def test_a_job_that_was_killed_goes_on(
    edge_house: House, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    house = edge_house
    user, _ = await library(house)
    seen: list[int] = []

    class Killed(BaseException):
        """The process is gone: nothing after it runs."""

    async def happen(number: int) -> None:
        seen.append(number)
        if moment == "filling" and number == 5:
            raise Killed

    parts = parts_of(house, happen)
    job_id = await request(house, Change(Action.REEMBED, "large"))
    switch = reembed._switch

    async def switch_and_die(*args: Any) -> None:
        await switch(*args)
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "switched":
            patch.setattr(reembed, "_switch", switch_and_die)
        with pytest.raises(Killed):
            await run(house, job_id, parts)
    first, seen[:] = [*seen], []
    assert await run(house, job_id, replace(parts_of(house), fill=Filler(house, happen))) == (
        JobStatus.COMPLETED
    ), (await read(house, job_id)).error_reason
    assert await states(house) == {"live": "large", "previous": "small"}
    assert set((await house.points(user)).values()) == {16}
    # It went on where it was, and did not begin again.
    assert (len(first), len(seen)) == ((6, 4) if moment == "filling" else (8, 0))


async def test_a_rollback_that_was_killed_does_not_go_forth_again(
    edge_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = edge_house
    await library(house)
    await do(house, Action.REEMBED, source="large")
    job_id = await request(house, Change(Action.ROLLBACK, target="passages"))
    assert await run(house, job_id) == JobStatus.COMPLETED
    again = await request(house, Change(Action.ROLLBACK, target="passages"))
    assert await run(house, again) == JobStatus.COMPLETED
    assert await states(house) == {"live": "small", "previous": "large"}


async def test_an_abandoned_change_gives_way_to_another(edge_house: House) -> None:
    house = edge_house
    await library(house)

    class Killed(BaseException):
        pass

    async def die(number: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        await run(house, await request(house, Change(Action.REEMBED, "dull")), parts_of(house, die))
    assert await states(house) == {"live": "small", "building": "dull"}
    await house.owner.execute("UPDATE jobs SET status = 'cancelled'")
    assert (await do(house, Action.REEMBED, source="large")).status == JobStatus.COMPLETED
    assert await states(house) == {"live": "large", "previous": "small"}
    async for found in differences(house.database, (await house.shelf.live()).index, Seen()):
        assert not found


async def test_an_empty_library_changes_its_model_too(edge_house: House) -> None:
    job = await do(edge_house, Action.REEMBED, source="large")
    assert job.status == JobStatus.COMPLETED, job.error_reason
    assert await states(edge_house) == {"live": "large", "previous": "small"}
    assert CollectionState.LIVE == "live"

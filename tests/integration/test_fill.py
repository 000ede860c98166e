"""The parts of the filling that need no cluster: what a task reads, what an actor makes of it, and how
batches of a thread reach who writes them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy
import pytest

from little_monster.pipelines import fill
from little_monster.pipelines.fill import Embedded, FillOptions, Range, RayFill, ranges
from little_monster.platform.engines.fakes import TOKENIZER
from little_monster.platform.engines.protocols import EmbedderInfo
from tests.fixtures.shelves import Ground, House, open_ground, open_house


@pytest.fixture(scope="module")
async def ground(postgres: Any) -> AsyncIterator[Ground]:
    async with open_ground(postgres) as ground:
        yield ground


@pytest.fixture
async def house(ground: Ground, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(ground, tmp_path) as house:
        yield house


class Lengths:
    """An engine whose vectors say how long a text is."""

    info = EmbedderInfo("lengths", TOKENIZER, 2, 256)

    @property
    def background(self) -> Any:
        return self

    def encode(self, texts: list[str]) -> Any:
        return numpy.asarray([[len(text), 0.0] for text in texts], dtype=numpy.float32)


async def test_tasks_and_actors_hand_on_every_passage_once(
    house: House, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_DATABASE__URL", ground.url)
    # An actor has a process of its own to be polite with.
    monkeypatch.setattr(fill, "give_way", lambda _: None)
    users = [await house.user() for _ in range(2)]
    documents = [await house.add(users[number % 2], f"One {number}.\n\nTwo.") for number in range(9)]
    todo = [one async for one in ranges(house.database, None, chunks=4)]
    assert [one.chunks for one in todo] == [4, 4, 4, 4, 2]
    model = fill._Model(lambda source: Lengths(), "any")
    found: list[Embedded] = []
    for item in fill._items(todo):
        rows = await asyncio.to_thread(lambda item=item: [*fill._read(item)])  # type: ignore[misc]
        columns = {name: numpy.asarray([row[name] for row in rows]) for name in rows[0]}
        found += fill._embedded(model(columns))
    assert len({one.chunk_id for one in found}) == len(found) == 18
    assert {one.document_id for one in found} == {*documents}
    assert {one.owner for one in found} == {*users}
    assert [one.range for one in found] == sorted(one.range for one in found)
    # With the path of headings, as ingestion embeds them.
    assert {one.vector[0] for one in found} == {
        float(len(f"Chapter\n\n{text}")) for text in ("One 1.", "Two.")
    }
    assert model({}) == {}


def test_an_actor_reads_a_text_in_windows_that_is_longer_than_its_model_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fill, "give_way", lambda _: None)
    given: list[str] = []

    class Brief(Lengths):
        info = EmbedderInfo("brief", TOKENIZER, 2, 32)

        def encode(self, texts: list[str]) -> Any:
            given.extend(texts)
            return super().encode(texts)

    texts = ["Cells divide.", "Cells divide. " * 20, "Kings rule."]
    batch = {"chunk": numpy.array(["a", "b", "c"]), "text": numpy.array(texts)}
    vectors = fill._Model(lambda source: Brief(), "any")(batch)["vector"]
    assert " ".join(given).split() == " ".join(texts).split()
    assert len(given) > 3
    assert vectors.tolist() == [[len(texts[0]), 0.0], [1.0, 0.0], [len(texts[2]), 0.0]]


async def test_a_later_start_leaves_out_what_is_done(house: House) -> None:
    user = await house.user()
    documents = sorted([await house.add(user, "One.") for _ in range(5)])
    (rest,) = [one async for one in ranges(house.database, documents[2])]
    assert (rest.after, rest.until, rest.chunks) == (documents[2], documents[4], 2)
    assert [one async for one in ranges(house.database, documents[4])] == []


class _Thread(RayFill):
    """Batches of another source than a cluster."""

    def __init__(self, batches: Iterator[list[Embedded]]) -> None:
        super().__init__(lambda source: Lengths(), FillOptions())
        self._source = batches

    def _batches(self, source: str, ranges: Sequence[Range]) -> Iterator[list[Embedded]]:
        return self._source


def batches(count: int, error: Exception | None = None) -> Iterator[list[Embedded]]:
    for number in range(count):
        yield [Embedded(number, uuid4(), uuid4(), uuid4(), [1.0])]
    if error is not None:
        raise error


async def test_batches_come_in_order_and_an_error_at_its_place() -> None:
    seen = [batch[0].range async for batch in _Thread(batches(20))("any", [])]
    assert seen == [*range(20)]
    filling = _Thread(batches(3, RuntimeError("lost")))("any", [])
    assert [(await anext(filling))[0].range for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="lost"):
        await anext(filling)


async def test_who_stops_to_take_batches_ends_the_thread() -> None:
    endless = batches(10**6)
    filling = _Thread(endless)("any", [])
    assert await anext(filling)
    await asyncio.wait_for(filling.aclose(), 5)
    # It was not read to its end.
    assert next(endless)[0].range < 100

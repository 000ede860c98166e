"""What somebody waits for goes before the rest, and nothing is lost or mixed up on the way."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy
import pytest

from little_monster.platform.engines import lanes as engines
from little_monster.platform.engines.lanes import WINDOW, Encoder


class Lanes(engines.Lanes):
    """An answer that does not come fails its test, and leaves the others their turn."""

    async def encode(self, encoder: Encoder, texts: Sequence[str], *, urgent: bool) -> numpy.ndarray:
        async with asyncio.timeout(5):
            return await super().encode(encoder, texts, urgent=urgent)


@dataclass
class Model:
    """Says the length of a text; notes what was given to it, and stops at a gate before each slice.

    `together` is whether it takes several calls at once.
    """

    together: bool = True
    slices: list[list[str]] = field(default_factory=list)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def encode(self, texts: list[str]) -> numpy.ndarray:
        if self.together or texts[0].startswith("bulk"):
            return self._encode(texts)
        with self.lock:
            return self._encode(texts)

    def _encode(self, texts: list[str]) -> numpy.ndarray:
        if texts[0].startswith("bulk"):
            with self.lock:
                self.entered.release()
                assert self.gate.acquire(timeout=10)
                self.slices.append(texts)
        else:
            self.slices.append(texts)
        if "broken" in texts:
            raise ValueError("broken")
        return numpy.array([[len(text), 1.0] for text in texts], numpy.float32)

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)

    def open(self, slices: int = 1_000_000) -> None:
        self.gate.release(slices)


@pytest.fixture(params=[True, False], ids=["several calls at once", "one call at a time"])
def model(request: pytest.FixtureRequest) -> Iterator[Model]:
    made = Model(together=request.param)
    yield made
    made.open()


async def test_each_text_gets_its_vector(model: Model) -> None:
    model.open()
    lanes = Lanes(batch_size=4)
    texts = [[f"bulk {'x' * (17 * number % 23)}" for number in range(size)] for size in (1, 40, 7, 200)]
    answers = await asyncio.gather(*(lanes.encode(model, call, urgent=False) for call in texts))
    for call, answer in zip(texts, answers, strict=True):
        assert answer.shape == (len(call), 2)
        assert answer.dtype == numpy.float32
        assert [int(row[0]) for row in answer] == [len(text) for text in call]


async def test_an_urgent_text_waits_for_one_slice_at_most(model: Model) -> None:
    lanes = Lanes(batch_size=4)
    flood = [asyncio.create_task(lanes.encode(model, [f"bulk {n}"] * 64, urgent=False)) for n in range(20)]
    await model.wait_entered()
    urgent = asyncio.create_task(lanes.encode(model, ["query"], urgent=True))
    if not model.together:
        await asyncio.sleep(0.05)
        model.open(1)
    # Long before a gate gives up.
    assert (await asyncio.wait_for(urgent, 5)).shape == (1, 2)
    assert len([texts for texts in model.slices if texts != ["query"]]) <= (0 if model.together else 1)
    model.open()
    assert sum(len(answer) for answer in await asyncio.gather(*flood)) == 20 * 64


async def test_bulk_begins_no_slice_before_what_is_urgent_is_done() -> None:
    model, busy = Model(), threading.Event()

    class Slow(Model):
        def encode(self, texts: list[str]) -> numpy.ndarray:
            assert busy.wait(10)
            return numpy.zeros((len(texts), 2), numpy.float32)

    lanes = Lanes(batch_size=4)
    model.open()
    urgent = asyncio.create_task(lanes.encode(Slow(), ["query"], urgent=True))
    await asyncio.sleep(0)
    bulk = asyncio.create_task(lanes.encode(model, ["bulk"], urgent=False))
    await asyncio.sleep(0.05)
    assert model.slices == []
    busy.set()
    await urgent
    await bulk
    assert model.slices == [["bulk"]]


async def test_a_flood_of_urgent_texts_does_not_stop_the_rest_for_ever() -> None:
    model, ended = Model(), False
    model.open()
    lanes = Lanes(batch_size=4)

    class Slow(Model):
        def encode(self, texts: list[str]) -> numpy.ndarray:
            time.sleep(0.02)
            return numpy.zeros((len(texts), 2), numpy.float32)

    async def ask(encoder: Model) -> None:
        while not ended:
            await lanes.encode(encoder, ["query"], urgent=True)

    # While one is answered the other waits already.
    askers = []
    for _ in range(3):
        askers.append(asyncio.create_task(ask(Slow())))
        await asyncio.sleep(0.007)
    await asyncio.wait_for(lanes.encode(model, ["bulk"] * 2, urgent=False), timeout=10)
    ended = True
    await asyncio.gather(*askers)


async def test_slices_are_of_like_lengths_and_grow_with_the_speed() -> None:
    model = Model()
    model.open()
    texts = [f"bulk {'x' * (7 * number % 90)}" for number in range(WINDOW)]
    await Lanes(batch_size=16, slice_s=10).encode(model, texts, urgent=False)
    flat = [text for texts in model.slices for text in texts]
    assert [len(text) for text in flat] == sorted((len(text) for text in texts), reverse=True)
    assert len(model.slices[0]) == 1
    assert max(map(len, model.slices)) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own elsewhere")
async def test_bulk_has_a_lower_priority() -> None:
    class Priority(Model):
        def encode(self, texts: list[str]) -> numpy.ndarray:
            return numpy.array([[os.getpriority(os.PRIO_PROCESS, threading.get_native_id())]])

    lanes, ours = Lanes(), os.getpriority(os.PRIO_PROCESS, 0)
    assert (await lanes.encode(Priority(), ["query"], urgent=True)).item() == ours
    assert (await lanes.encode(Priority(), ["bulk"], urgent=False)).item() > ours


@pytest.mark.parametrize("urgent", [False, True])
async def test_slices_run_side_by_side(urgent: bool) -> None:
    met = threading.Barrier(2)

    class Meeting(Model):
        def encode(self, texts: list[str]) -> numpy.ndarray:
            met.wait(10)
            return numpy.array([[len(text), 1.0] for text in texts], numpy.float32)

    lanes = Lanes(batch_size=1, urgent_threads=2, bulk_threads=2)
    vectors = await lanes.encode(Meeting(), ["bulk", "bulk 2"] * 4, urgent=urgent)
    assert [int(row[0]) for row in vectors] == [4, 6] * 4


async def test_who_has_all_vectors_does_not_wait_for_others() -> None:
    model = Model()
    lanes = Lanes(batch_size=1)
    long, short = (
        asyncio.create_task(lanes.encode(model, texts, urgent=False))
        for texts in (["bulk long"] * 3, ["bulk, the longest of all"])
    )
    await model.wait_entered()
    model.open(1)
    assert (await asyncio.wait_for(short, 5)).shape == (1, 2)
    assert not long.done()
    model.open()
    assert (await long).shape == (3, 2)


async def test_nothing_to_encode_is_refused() -> None:
    with pytest.raises(ValueError, match="no texts"):
        await Lanes().encode(Model(), [], urgent=True)


async def test_a_slow_model_gets_one_text_at_a_time() -> None:
    model = Model()
    model.open()
    await Lanes(batch_size=16, slice_s=1e-9).encode(model, ["bulk"] * 20, urgent=False)
    assert {len(texts) for texts in model.slices} == {1}


async def test_what_is_cancelled_is_not_computed() -> None:
    model = Model()
    lanes = Lanes(batch_size=1)
    gone = asyncio.create_task(lanes.encode(model, ["bulk gone"] * 50, urgent=False))
    await model.wait_entered()
    stays = asyncio.create_task(lanes.encode(model, ["bulk stays"], urgent=False))
    gone.cancel()
    model.open()
    await stays
    assert len(model.slices) == 2


async def test_one_that_fails_tells_and_the_next_goes_on() -> None:
    model = Model()
    lanes = Lanes()
    with pytest.raises(ValueError, match="broken"):
        await lanes.encode(model, ["broken"], urgent=True)
    assert (await lanes.encode(model, ["whole"], urgent=True)).shape == (1, 2)

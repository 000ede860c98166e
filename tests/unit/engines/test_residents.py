"""Models stay in memory while they are asked for, and are loaded once."""

import asyncio
import time

import pytest

from little_monster.platform.engines.residents import Residents


class Loads:
    """Notes what is loaded."""

    def __init__(self) -> None:
        self.sources: list[str] = []

    def __call__(self, source: str) -> str:
        self.sources.append(source)
        time.sleep(0.01)
        if source == "broken":
            raise ValueError(source)
        return source.upper()


async def test_a_model_is_loaded_once_however_many_ask() -> None:
    loads = Loads()
    models = Residents(loads)
    assert await asyncio.gather(*(models.get("a") for _ in range(5))) == ["A"] * 5
    assert loads.sources == ["a"]


async def test_the_one_that_was_longest_not_asked_for_is_dropped() -> None:
    loads = Loads()
    models = Residents(loads, most=2)
    for source in ("a", "b", "a", "c", "a", "b"):
        assert await models.get(source) == source.upper()
    assert loads.sources == ["a", "b", "c", "b"]


async def test_a_load_that_failed_is_tried_again() -> None:
    loads = Loads()
    models = Residents(loads)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await models.get("broken")
    assert loads.sources == ["broken", "broken"]


async def test_a_load_that_failed_drops_nothing() -> None:
    loads = Loads()
    models = Residents(loads, most=1)
    await models.get("a")
    with pytest.raises(ValueError, match="broken"):
        await models.get("broken")
    await models.get("a")
    assert loads.sources == ["a", "broken"]


async def test_who_gives_up_does_not_end_it_for_the_others() -> None:
    models = Residents(Loads())
    impatient = asyncio.create_task(models.get("a"))
    await asyncio.sleep(0)
    patient = asyncio.create_task(models.get("a"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == "A"

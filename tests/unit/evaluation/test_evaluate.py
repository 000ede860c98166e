"""The means over all questions."""

import asyncio
from math import log2

import pytest

from little_monster.platform.services.evaluation.dataset import Dataset, Entry
from little_monster.platform.services.evaluation.evaluate import Scores, evaluate

DATASET = Dataset(
    "small",
    {key: Entry("", key) for key in ("a", "b", "c")},
    {"1": "first", "2": "second"},
    {"1": {"a": 1}, "2": {"b": 1, "c": 1}},
)


async def test_each_question_counts_alike() -> None:
    answers = {"first": ["b", "a"], "second": ["b"]}

    async def find(query: str) -> list[str]:
        return answers[query]

    scores = await evaluate(DATASET, find)
    second = 1 / (1 + 1 / log2(3))
    assert scores == Scores(10, 2, pytest.approx((1 / log2(3) + second) / 2), 0.75, 0.75)


async def test_no_more_than_the_bound_are_asked_at_once() -> None:
    running, most = 0, 0

    async def find(query: str) -> list[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return ["a"]

    await evaluate(DATASET, find)
    assert most == 1
    await evaluate(DATASET, find, at_once=2)
    assert most == 2


async def test_a_search_that_fails_ends_it() -> None:
    async def find(query: str) -> list[str]:
        raise ConnectionError(query)

    with pytest.raises(ExceptionGroup):
        await evaluate(DATASET, find)

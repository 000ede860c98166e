"""Asks all questions of a dataset and says how well they were answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from little_monster.platform.services.evaluation.dataset import Dataset
from little_monster.platform.services.evaluation.metrics import ndcg, recall, reciprocal_rank

Find = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the corpus ids that answer a question, best first."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over all questions of what each has for its first `k` answers; from 0 to 1, higher is better."""

    k: int
    questions: int
    ndcg: float
    recall: float
    mrr: float


async def evaluate(dataset: Dataset, find: Find, *, k: int = 10, at_once: int = 1) -> Scores:
    """Ask every question, `at_once` at a time, and return how good the answers are. Raises what `find`
    raises, in a group."""
    places = asyncio.Semaphore(at_once)

    async def ask(question: str, text: str) -> tuple[float, float, float]:
        async with places:
            ranking = await find(text)
        grades = dataset.grades[question]
        return ndcg(ranking, grades, k), recall(ranking, grades, k), reciprocal_rank(ranking, grades, k)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(key, text)) for key, text in dataset.questions.items()]
    columns = zip(*(task.result() for task in tasks), strict=True)
    return Scores(k, len(tasks), *(fmean(column) for column in columns))

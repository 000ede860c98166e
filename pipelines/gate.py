"""Lets a worse embedding model not take the place of a better one.

Both answer the questions of an evaluation set over the same passages, by exact search: nothing but the models
differs.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy

from little_monster.pipelines.stages.embed import embed_batches, embedded_text
from little_monster.platform.engines.protocols import Embedder

_FOUND = 10


class Text(Protocol):
    """One passage; `title` may be empty."""

    @property
    def title(self) -> str: ...

    @property
    def text(self) -> str: ...


class Dataset(Protocol):
    """What is searched: passages by id."""

    @property
    def corpus(self) -> Mapping[str, Text]: ...


class Scores(Protocol):
    """How good the answers were: nDCG@10 as the mean of `questions`, 0 to 1."""

    @property
    def ndcg(self) -> float: ...

    @property
    def questions(self) -> int: ...


Find = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a folder is read, and how its questions are asked of `find`, which returns ids, best first."""

    read: Callable[[Path], Any]
    evaluate: Callable[[Any, Find], Awaitable[Scores]]


async def measure(evaluation: Evaluation, dataset: Dataset, embedder: Embedder) -> Scores:
    """Return how well a model finds what answers the questions of a dataset."""
    ids = [*dataset.corpus]
    texts = [embedded_text([one.title] if one.title else [], one.text) for one in dataset.corpus.values()]
    parts = [numpy.asarray(part, dtype=numpy.float32) async for _, part in embed_batches(embedder, texts)]
    vectors = numpy.concatenate(parts)

    async def find(question: str) -> list[str]:
        [vector] = await embedder.embed([question])
        best = numpy.argsort(-(vectors @ numpy.asarray(vector, dtype=numpy.float32)), kind="stable")
        return [ids[place] for place in best[:_FOUND]]

    return await evaluation.evaluate(dataset, find)

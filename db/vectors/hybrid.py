"""A search by meaning and by terms at once, whatever the index: two rankings become one.

Scores are fused, not ranks: a term that is rare and hits, or a meaning that is very near, says more than its
place in a list (Bruch, Gai and Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, 2023). Between
two passes the query moves a little to what the first one found (Rocchio's feedback, as Li and others use it
for vectors in Pseudo Relevance Feedback with Deep Language Models and Dense Retrievers, 2021).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

import numpy

from little_monster.db.vectors.index import Hit, Query
from little_monster.db.vectors.payload import to_hit

DEPTH = 100
"""Hits of each ranking that are fused, whatever number of them is asked for: pages of one search are parts of
one and the same ranking."""

_FEEDBACK_HITS = 3
# What they weigh beside the query. Rocchio's 0.75 is for topics with many answers; most questions have one.
_FEEDBACK = 0.4

# Terms weigh the rest. They mislead where a question has other words than its answer, and meaning less so.
_BY_MEANING = 0.7

Ranking = Sequence[tuple[int, float]]
"""Points, each by the 128 bits of its UUID, which compare ten times as fast, with their scores, the highest
first."""


class Ranker(Protocol):
    """What one owner has in the index, of what one search asks for."""

    async def nearest(self, query: Query, limit: int) -> tuple[Ranking, Ranking]:
        """Return at most `limit` points by meaning, scored by cosine, and by terms, scored by BM25; nothing
        where the query names none."""
        ...

    async def vectors(self, ids: Sequence[UUID]) -> list[Sequence[float]]:
        """Return the vectors of points that were found."""
        ...

    async def payloads(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        """Return the payloads of points that were found, by their ids."""
        ...


async def search(ranker: Ranker, query: Query, *, limit: int) -> list[Hit]:
    """Return at most `limit` hits, best first. A query of one kind gives the scores of that kind."""
    ranking = (await _rank(ranker, query, max(limit, DEPTH)))[:limit]
    best = [(UUID(int=point), score) for point, score in ranking]
    payloads = await ranker.payloads([point for point, _ in best]) if best else {}
    # What is missing has just been deleted.
    return [to_hit(point, score, payloads[point]) for point, score in best if point in payloads]


async def _rank(ranker: Ranker, query: Query, depth: int) -> Ranking:
    dense, sparse = await ranker.nearest(query, depth)
    if query.vector is None or not query.sparse.indices:
        return _ordered([*dense, *sparse])
    found = fuse(dense, sparse)[:_FEEDBACK_HITS]
    near = await ranker.vectors([UUID(int=point) for point, _ in found]) if found else []
    if near:
        dense, _ = await ranker.nearest(Query(_moved(query.vector, near)), depth)
    return fuse(dense, sparse)


def fuse(dense: Ranking, sparse: Ranking) -> Ranking:
    """Return all points by the weighted mean of their scores, each as a share of its ranking's best.

    A point that a ranking lacks has 0 there.
    """
    scores: dict[int, float] = {}
    for ranking, weight in ((dense, _BY_MEANING), (sparse, 1 - _BY_MEANING)):
        best = ranking[0][1] if ranking else 0.0
        for point, score in ranking:
            share = score / best if score > 0 else 0.0
            scores[point] = scores.get(point, 0.0) + weight * share
    return _ordered(scores.items())


def _ordered(ranking: Iterable[tuple[int, float]]) -> Ranking:
    return sorted(ranking, key=lambda one: (-one[1], one[0]))


def _moved(vector: Sequence[float], near: Sequence[Sequence[float]]) -> list[float]:
    moved: list[float] = (numpy.asarray(vector) + _FEEDBACK * numpy.mean(near, axis=0)).tolist()
    return moved

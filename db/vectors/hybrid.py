"""A search by meaning and by terms at once, whatever the index: two rankings become one.

Scores are fused, not ranks: a term that is rare and hits, or a meaning that is very near, says more than its
place in a list (Bruch, Gai and Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, 2023). Between
two passes the query moves a little to what the first one found (Rocchio's feedback, as Li and others use it
for vectors in Pseudo Relevance Feedback with Deep Language Models and Dense Retrievers, 2021).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from little_monster.db.vectors.index import Hit, Query

DEPTH = 100
"""Hits of each ranking that are fused, whatever number of them is asked for: pages of one search are parts of
one and the same ranking."""

_FEEDBACK_HITS = 3
# What they weigh beside the query. Rocchio's 0.75 is for topics with many answers; most questions have one.
_FEEDBACK = 0.4


class Ranker(Protocol):
    """What one owner has in the index, of what one search asks for."""

    async def nearest(self, query: Query, limit: int) -> tuple[list[Hit], list[Hit]]:
        """Return at most `limit` hits by meaning, scored by cosine, and by terms, scored by BM25; nothing
        where the query names none."""
        ...

    async def vectors(self, ids: Sequence[UUID]) -> list[Sequence[float]]:
        """Return the vectors of points that were found."""
        ...


async def search(ranker: Ranker, query: Query, *, limit: int) -> list[Hit]:
    """Return at most `limit` hits, best first. A query of one kind gives the scores of that kind."""
    depth = max(limit, DEPTH)
    dense, sparse = await ranker.nearest(query, depth)
    if query.vector is None or not query.sparse.indices:
        return _ordered([*dense, *sparse])[:limit]
    found = fuse(dense, sparse)[:_FEEDBACK_HITS]
    near = await ranker.vectors([hit.id for hit in found]) if found else []
    if near:  # Else there is nothing, or what was found has just been deleted.
        dense, _ = await ranker.nearest(Query(_moved(query.vector, near)), depth)
    return fuse(dense, sparse)[:limit]


def fuse(*rankings: Sequence[Hit]) -> list[Hit]:
    """Return all hits by the mean of their scores, each as a share of its ranking's best.

    A hit that a ranking lacks has 0 there.
    """
    hits: dict[UUID, Hit] = {}
    for ranking in rankings:
        best = max((hit.score for hit in ranking), default=0.0)
        for hit in ranking:
            share = max(hit.score, 0.0) / best / len(rankings) if best > 0 else 0.0
            known = hits.get(hit.id)
            hits[hit.id] = replace(hit, score=share + (known.score if known else 0.0))
    return _ordered(hits.values())


def _ordered(hits: Iterable[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _moved(vector: Sequence[float], near: Sequence[Sequence[float]]) -> list[float]:
    weight = _FEEDBACK / len(near)
    return [own + weight * sum(others) for own, others in zip(vector, zip(*near, strict=True), strict=True)]

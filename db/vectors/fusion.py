"""Two rankings of one query, by meaning and by terms, to one."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from little_monster.db.vectors.index import Hit

DEPTH = 100
"""Hits of each ranking that are fused, whatever number of them is asked for: pages of one search are parts of
one and the same ranking."""


def fuse(rankings: Sequence[Sequence[Hit]], *, limit: int) -> list[Hit]:
    """Return at most `limit` hits by the mean of their scores, each ranking's stretched from 0 to 1.

    A hit that a ranking lacks has 0 there. A single ranking stays as it is.
    """
    if len(rankings) == 1:
        return sorted(rankings[0], key=lambda hit: (-hit.score, hit.id))[:limit]
    scores: dict[UUID, float] = {}
    hits: dict[UUID, Hit] = {}
    for ranking in rankings:
        for hit, score in zip(ranking, _stretched(ranking), strict=True):
            scores[hit.id] = scores.get(hit.id, 0.0) + score / len(rankings)
            hits[hit.id] = hit
    best = sorted(scores, key=lambda key: (-scores[key], key))[:limit]
    return [replace(hits[key], score=scores[key]) for key in best]


def _stretched(ranking: Sequence[Hit]) -> list[float]:
    if not ranking:
        return []
    least = min(hit.score for hit in ranking)
    span = max(hit.score for hit in ranking) - least
    return [(hit.score - least) / span if span else 1.0 for hit in ranking]

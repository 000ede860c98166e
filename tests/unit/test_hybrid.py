"""Two rankings to one, and the feedback of the first hits."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from little_monster.db.vectors.hybrid import DEPTH, Ranking, fuse, search
from little_monster.db.vectors.index import Query, SparseVector

A, B, C, D = range(1, 5)
DOCUMENT = UUID(int=99)
TERMS = SparseVector((1,), (1.0,))


class Ranker:
    """Answers by its rankings; the second time by meaning with `moved`."""

    def __init__(self, dense: Ranking = (), sparse: Ranking = (), moved: Ranking = ()) -> None:
        self.dense, self.sparse, self.moved = [dense, moved], sparse, moved
        self.asked: list[tuple[Query, int]] = []
        self.gone: set[int] = set()

    async def nearest(self, query: Query, limit: int) -> tuple[Ranking, Ranking]:
        self.asked.append((query, limit))
        dense = self.dense.pop(0) if query.vector is not None else ()
        return dense, self.sparse if query.sparse.indices else ()

    async def vectors(self, ids: Sequence[UUID]) -> list[Sequence[float]]:
        return [[0.0, 1.0] for point in ids if point.int not in self.gone]

    async def payloads(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        return {point: {"document_id": str(DOCUMENT)} for point in ids if point.int not in self.gone}


def test_scores_are_shares_of_the_best_and_their_weighted_mean_counts() -> None:
    fused = fuse([(A, 0.8), (B, 0.4)], [(B, 12.0), (C, 6.0)])
    assert [point for point, _ in fused] == [A, B, C]
    assert [score for _, score in fused] == pytest.approx([0.7, 0.65, 0.15])


def test_negative_and_empty_rankings_count_nothing() -> None:
    assert fuse([(A, -0.2), (B, -0.4)], []) == [(A, 0.0), (B, 0.0)]
    assert fuse([], []) == []


def test_alike_scores_come_in_the_order_of_ids() -> None:
    assert [point for point, _ in fuse([(C, 0.5), (A, 0.5)], [(D, 3.0), (B, 3.0)])] == [A, C, B, D]


async def test_the_query_moves_to_the_first_hits() -> None:
    ranker = Ranker(dense=[(A, 0.9), (B, 0.8)], sparse=[(C, 5.0)], moved=[(B, 0.9), (D, 0.6)])
    hits = await search(ranker, Query([1.0, 0.0], TERMS), limit=3)
    (first, depth), (second, _) = ranker.asked
    assert (first.vector, depth) == ([1.0, 0.0], DEPTH)
    assert second.vector == pytest.approx([1.0, 0.4])
    assert not second.sparse.indices
    assert [hit.id.int for hit in hits] == [B, D, C]
    assert {hit.document_id for hit in hits} == {DOCUMENT}


async def test_a_query_of_one_kind_keeps_its_scores() -> None:
    ranker = Ranker(dense=[(A, 0.9), (B, 0.8)])
    hits = await search(ranker, Query([1.0, 0.0]), limit=1)
    assert [(hit.id.int, hit.score) for hit in hits] == [(A, 0.9)]
    assert len(ranker.asked) == 1
    [hit] = await search(Ranker(sparse=[(C, 5.0)]), Query(sparse=TERMS), limit=2)
    assert (hit.id.int, hit.score) == (C, 5.0)


async def test_points_that_are_deleted_meanwhile_are_passed_over() -> None:
    ranker = Ranker(dense=[(A, 0.9)], sparse=[(A, 5.0)])
    ranker.gone = {A}
    assert await search(ranker, Query([1.0, 0.0], TERMS), limit=5) == []
    assert await search(Ranker(), Query([1.0, 0.0], TERMS), limit=5) == []

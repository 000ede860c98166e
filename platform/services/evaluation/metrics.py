"""How good a ranking is, as trec_eval counts it: every id once, graded by `grades`, 0 for what is not there.

Our own, as what computes these is either compiled C (pytrec-eval) or brings a compiler (ranx).
"""

from collections.abc import Mapping, Sequence
from math import log2

Grades = Mapping[str, int]


def ndcg(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Return nDCG@k (Järvelin and Kekäläinen 2002) with linear gains, as BEIR has it: from 0 to 1."""
    gains = [max(grades.get(key, 0), 0) for key in _distinct(ranking)[:k]]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    return _dcg(gains) / _dcg(ideal) if ideal else 0.0


def recall(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Return the share of what is relevant that is among the first k."""
    relevant = {key for key, grade in grades.items() if grade > 0}
    return len(relevant & {*_distinct(ranking)[:k]}) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Return 1/rank of the first that is relevant; 0 where it is not among the first k."""
    ranks = (rank for rank, key in enumerate(_distinct(ranking)[:k], start=1) if grades.get(key, 0) > 0)
    return 1 / rank if (rank := next(ranks, None)) else 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _distinct(ranking: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(ranking))

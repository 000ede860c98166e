"""The metrics, against published values, values by hand, and scikit-learn."""

import random
from math import log2

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from little_monster.platform.services.evaluation.metrics import ndcg, recall, reciprocal_rank

# The example of https://en.wikipedia.org/wiki/Discounted_cumulative_gain: D7 and D8 are relevant, and not
# found.
WIKIPEDIA = {"D1": 3, "D2": 2, "D3": 3, "D4": 0, "D5": 1, "D6": 2, "D7": 3, "D8": 2}


def test_ndcg_is_the_published_one() -> None:
    assert ndcg(["D1", "D2", "D3", "D4", "D5", "D6"], WIKIPEDIA, 6) == pytest.approx(0.785, abs=5e-4)


def test_ndcg_by_hand() -> None:
    assert ndcg(["x", "a"], {"a": 1}, 10) == pytest.approx(1 / log2(3))
    assert ndcg(["x", "a"], {"a": 1}, 1) == 0
    assert ndcg(["a", "b"], {"a": 1, "b": 1, "c": 1}, 2) == 1, "no ranking of two holds three"
    assert ndcg(["b", "a"], {"a": 2, "b": 1}, 10) == pytest.approx((1 + 2 / log2(3)) / (2 + 1 / log2(3)))


def test_ndcg_is_that_of_another_implementation() -> None:
    chance = random.Random(4)
    for _ in range(50):
        keys = [str(number) for number in range(12)]
        grades = {key: chance.choice((0, 0, 1, 2, 3)) for key in keys} | {"0": 1}
        scores = {key: chance.random() for key in keys}
        ranking = sorted(keys, key=lambda key: -scores[key])
        truth, told = [np.array([[of[key] for key in keys]]) for of in (grades, scores)]
        assert ndcg(ranking, grades, 10) == pytest.approx(ndcg_score(truth, told, k=10))


def test_recall() -> None:
    grades = {"a": 1, "b": 2, "c": 0}
    assert recall(["c", "a", "x", "b"], grades, 2) == 0.5
    assert recall(["c", "a", "x", "b"], grades, 4) == 1


def test_reciprocal_rank() -> None:
    assert reciprocal_rank(["c", "x", "a", "b"], {"a": 1, "b": 1, "c": 0}, 10) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "y", "a"], {"a": 1}, 2) == 0


def test_nothing_found_or_nothing_to_find_is_zero() -> None:
    for metric in (ndcg, recall, reciprocal_rank):
        assert metric([], {"a": 1}, 10) == 0
        assert metric(["a"], {"a": 0}, 10) == 0
        assert metric(["a"], {"a": -1}, 10) == 0, "BEIR has negative grades"


def test_what_is_named_twice_counts_once_at_its_first_place() -> None:
    for metric in (ndcg, recall, reciprocal_rank):
        assert metric(["a", "a", "b"], {"a": 1, "b": 1}, 2) == 1

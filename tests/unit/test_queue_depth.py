"""How many workers the queue wants."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import TimeStampedValue

from little_monster.deployments.autoscaling import DEPTH, QueueDepth


def context(**series: list[tuple[float, float]]) -> Any:
    metrics = {
        replica: [TimeStampedValue(timestamp=at, value=value) for at, value in points]
        for replica, points in series.items()
    }
    return SimpleNamespace(raw_metrics={DEPTH: metrics}, target_num_replicas=3)


@pytest.mark.parametrize(("depth", "replicas"), [(0, 0), (4, 1), (5, 1.25), (40, 10)])
def test_a_replica_for_so_many_jobs(depth: float, replicas: float) -> None:
    assert QueueDepth(4)(context(a=[(1, depth)])) == (replicas, {})


def test_the_newest_count_is_the_truth() -> None:
    assert QueueDepth(4)(context(a=[(1, 100), (3, 8)], b=[(2, 40)], c=[])) == (2, {})


def test_before_the_first_count_nothing_changes() -> None:
    assert QueueDepth(4)(context(a=[])) == (3, {})
    assert QueueDepth(4)(SimpleNamespace(raw_metrics=None, target_num_replicas=2)) == (2, {})

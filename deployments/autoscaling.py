"""How many replicas a deployment wants, where requests do not tell.

Serve's controller imports this: it needs nothing.
"""

from collections.abc import Mapping
from typing import Any

DEPTH = "jobs_in_the_queue"
"""What workers report to Serve: how many jobs wait or are being worked on."""


class QueueDepth:
    """The autoscaling policy `little_monster.deployments.autoscaling:QueueDepth`: one replica for each
    `jobs_per_replica` jobs that wait or run, within the bounds and delays of the deployment.

    Args:
        jobs_per_replica: jobs that one replica is to have before it.
    """

    def __init__(self, jobs_per_replica: float) -> None:
        self._jobs_per_replica = jobs_per_replica

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """Return how many replicas are wanted, from Serve's `AutoscalingContext`; and nothing to remember."""
        depths: Mapping[Any, Any] = (context.raw_metrics or {}).get(DEPTH, {})
        # Each replica counts the whole queue: the newest of all counts is the truth.
        points = [series[-1] for series in depths.values() if series]
        if not points:
            return context.target_num_replicas, {}
        newest = max(points, key=lambda point: point.timestamp)
        return newest.value / self._jobs_per_replica, {}

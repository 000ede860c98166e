from datetime import UTC, datetime, timedelta

import pytest

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.platform.services.jobs import eta_seconds

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "progress", "expected"),
    [
        (JobStatus.RUNNING, 0.25, 180),
        (JobStatus.RUNNING, 1.0, 0),
        (JobStatus.RUNNING, 0.01, None),
        (JobStatus.QUEUED, 0.5, None),
        (JobStatus.COMPLETED, 1.0, None),
    ],
)
def test_eta(status: JobStatus, progress: float, expected: int | None) -> None:
    job = Job(status=status, progress=progress, started_at=NOW - timedelta(seconds=60))
    assert eta_seconds(job, NOW) == expected
    job.started_at = None
    assert eta_seconds(job, NOW) is None

"""How a job that did not come to its end goes back to the queue, whatever its kind."""

from collections.abc import Awaitable, Callable

from little_monster.db.models.jobs import JobStatus
from little_monster.db.session import Session
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.platform.errors import ProblemError

FIRST_RETRY_S = 5.0

Failed = Callable[[Session, Lease, str, str], Awaitable[None]]
"""What else is written, with its code and reason, in the transaction in which a job fails for good."""


async def nothing_else(_session: Session, _lease: Lease, _code: str, _reason: str) -> None:
    """Write nothing besides the job."""


async def recorded(writing: Awaitable[JobStatus]) -> JobStatus | None:
    """Return how the job stands now; None when the lease was lost."""
    try:
        return await writing
    except LeaseLost:
        return None


async def retry(
    lease: Lease, error: Exception, code: str, reason: str, *, failed: Failed = nothing_else
) -> JobStatus | None:
    """Queue the job again after an error, later each time, or fail it after its last attempt.

    Args:
        code: said of errors that say nothing of themselves, as is `reason`.
    """
    if isinstance(error, ProblemError):
        code, reason = error.code, error.detail
    delay_s = FIRST_RETRY_S * 2 ** (lease.job.attempts - 1)
    return await recorded(_requeue(lease, delay_s, code, reason, failed))


async def release(lease: Lease, *, failed: Failed = nothing_else) -> JobStatus | None:
    """Give the job back to the queue at once, as this worker stops."""
    return await recorded(_requeue(lease, 0.0, "worker_stopped", "The worker was stopped.", failed))


async def _requeue(lease: Lease, delay_s: float, code: str, reason: str, failed: Failed) -> JobStatus:
    async with lease.transaction() as session:
        status = await lease.retry_in(session, delay_s=delay_s, code=code, reason=reason)
        if status == JobStatus.FAILED:
            await failed(session, lease, code, reason)
    return status

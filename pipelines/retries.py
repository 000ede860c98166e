"""How a job that failed goes back to the queue, whatever its kind."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from little_monster.db.models.jobs import JobStatus
from little_monster.db.session import Session
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.platform.errors import ProblemError

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 300.0

Failed = Callable[[Session, Lease, str, str], Awaitable[None]]
"""What else is written, with its code and reason, in the transaction in which a job fails for good."""


async def nothing_else(_session: Session, _lease: Lease, _code: str, _reason: str) -> None:
    """Write nothing besides the job."""


def pause(attempts: int) -> timedelta:
    """Return how long a job rests after its `attempts`-th failure: twice as long each time."""
    return timedelta(seconds=min(FIRST_RETRY_S * 2 ** (attempts - 1), LONGEST_RETRY_S))


async def recorded(writing: Awaitable[JobStatus]) -> JobStatus | None:
    """Return how the job stands now; None when the lease was lost."""
    try:
        return await writing
    except LeaseLost:
        return None


async def retry(
    lease: Lease, error: Exception, code: str, reason: str, *, failed: Failed = nothing_else
) -> JobStatus | None:
    """Let the job wait again after an error, or fail it after its last attempt.

    Args:
        code: said of errors that say nothing of themselves, as is `reason`.
    """
    return await recorded(_requeue(lease, *said(error, code, reason), failed))


def said(error: Exception, code: str, reason: str) -> tuple[str, str]:
    """Return what an error says of itself, else the code and reason given."""
    return (error.code, error.detail) if isinstance(error, ProblemError) else (code, reason)


async def _requeue(lease: Lease, code: str, reason: str, failed: Failed) -> JobStatus:
    async with lease.transaction() as session:
        status = await lease.retry_in(session, code, reason)
        if status == JobStatus.FAILED:
            await failed(session, lease, code, reason)
    return status

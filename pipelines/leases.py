"""A worker's hold on a job. What a job writes about itself goes through here, and stops when it is lost."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.repositories.jobs import ClaimedJob, Counts
from little_monster.db.session import Database, Session
from little_monster.platform.errors import LittleMonsterError

_T = TypeVar("_T")


class LeaseLost(LittleMonsterError):
    """The job was cancelled, or another worker has it now: nothing more may be written about it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`worker`, a name for this one attempt, has `job` until `cancelled` is, or another worker takes it."""

    database: Database
    job: ClaimedJob
    worker: str
    cancelled: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def guard(self, work: Awaitable[_T]) -> _T:
        """Do `work`, which ends at once when the job is cancelled.

        Raises:
            LeaseLost: see there.
        """
        with self.cancelled:
            return await work
        raise LeaseLost

    async def progress(self, stage: str, fraction: float, counts: Counts | None = None) -> None:
        """Say how far the job is, 0 to 1 of the whole, and what its stage counts.

        Raises:
            LeaseLost: see there.
        """
        async with self.transaction() as session:
            await self.progress_in(session, stage, fraction, counts)

    async def progress_in(
        self,
        session: Session,
        stage: str,
        fraction: float,
        counts: Counts | None = None,
        *,
        more: int = 0,
    ) -> None:
        """The same as part of a transaction, which rolls back when the lease is lost; `more` as of
        `jobs.progress`."""
        held = await jobs.progress(
            session,
            self.job.id,
            worker=self.worker,
            stage=stage,
            fraction=fraction,
            counts=counts,
            more=more,
        )
        self._must(held)

    async def hold_in(self, session: Session) -> None:
        """Let nobody take or change the job before this transaction ends, which rolls back when the lease is
        lost."""
        self._must(await jobs.hold(session, self.job.id, worker=self.worker))

    async def keep_in(self, session: Session, values: dict[str, Any]) -> None:
        """Keep values in the job for its next attempt, as part of a transaction, which rolls back when the
        lease is lost."""
        self._must(await jobs.keep(session, self.job.id, worker=self.worker, values=values))

    async def complete_in(
        self, session: Session, result: dict[str, Any], *, kept_s: float | None = None
    ) -> None:
        """End the job well, as part of a transaction, which rolls back when the lease is lost."""
        self._must(
            await jobs.complete(session, self.job.id, worker=self.worker, result=result, kept_s=kept_s)
        )

    async def fail_in(self, session: Session, code: str, reason: str) -> None:
        """End the job for good, as part of a transaction, which rolls back when the lease is lost."""
        self._must(await jobs.fail(session, self.job.id, worker=self.worker, code=code, reason=reason))

    async def retry_in(self, session: Session, code: str, reason: str) -> JobStatus:
        """Let the job wait again, or fail it after its last attempt, as part of a transaction."""
        status = await jobs.retry(session, self.job.id, worker=self.worker, code=code, reason=reason)
        if status is None:
            raise LeaseLost
        return status

    async def give_back(self) -> bool:
        """Let the job wait again as if this attempt had not been; False when the lease is lost."""
        async with self.transaction() as session:
            return await jobs.give_back(session, self.job.id, worker=self.worker)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A transaction as the owner of the job."""
        async with self.database.session(self.job.user_id) as session:
            yield session

    @staticmethod
    def _must(held: bool) -> None:
        if not held:
            raise LeaseLost

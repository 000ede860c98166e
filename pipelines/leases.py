"""A worker's hold on a job. What a job writes about itself goes through here, and stops when it is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.repositories.jobs import ClaimedJob
from little_monster.db.session import Database, Session
from little_monster.platform.errors import LittleMonsterError

LEASE_S = 60.0

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class LeaseLost(LittleMonsterError):
    """The job was cancelled, or another worker has it now: nothing more may be written about it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`worker` holds `job` for `lease_s` seconds from each heartbeat on."""

    database: Database
    job: ClaimedJob
    worker: str
    lease_s: float = LEASE_S

    async def guard(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do `work` and send heartbeats meanwhile; the work is cancelled when the lease is lost.

        Raises:
            LeaseLost: see there.
        """
        task = asyncio.ensure_future(work)
        beats = asyncio.ensure_future(self._beat())
        try:
            await asyncio.wait({task, beats}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise LeaseLost
            return task.result()
        finally:
            await _end(task, beats)

    async def progress(self, stage: str, fraction: float) -> None:
        """Say how far the job is, 0 to 1 of the whole.

        Raises:
            LeaseLost: see there.
        """
        async with self.transaction() as session:
            await self.progress_in(session, stage, fraction)

    async def progress_in(self, session: Session, stage: str, fraction: float) -> None:
        """The same as part of a transaction, which rolls back when the lease is lost."""
        self._must(
            await jobs.progress(session, self.job.id, worker=self.worker, stage=stage, fraction=fraction)
        )

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

    async def retry_in(self, session: Session, *, delay_s: float, code: str, reason: str) -> JobStatus:
        """Queue the job again, or fail it after its last attempt, as part of a transaction; return which."""
        status = await jobs.retry_later(
            session, self.job.id, worker=self.worker, delay_s=delay_s, code=code, reason=reason
        )
        if status is None:
            raise LeaseLost
        return status

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A transaction as the owner of the job."""
        async with self.database.session(self.job.user_id) as session:
            yield session

    async def _beat(self) -> None:
        """Return when the lease is lost."""
        while True:
            await asyncio.sleep(self.lease_s / 3)
            try:
                async with self.transaction() as session:
                    held = await jobs.heartbeat(
                        session, self.job.id, worker=self.worker, lease_s=self.lease_s
                    )
            except DatabaseUnavailable:
                # The job is not lost yet; what it writes at its end is checked again.
                _log.warning("heartbeat_missed", job_id=str(self.job.id))
                continue
            if not held:
                return

    @staticmethod
    def _must(held: bool) -> None:
        if not held:
            raise LeaseLost


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

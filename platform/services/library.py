"""Whole libraries, as an operator has them ingested: one job, which counts files, for one source.

The job's own program works on it (`little_monster.pipelines.library.run`); what it is to do stands in the
job's payload.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from little_monster.db.models.jobs import Job
from little_monster.db.models.user_documents import Subject
from little_monster.db.repositories import jobs, users
from little_monster.db.session import Database
from little_monster.platform.errors import NotFound

LIBRARY: Final = "ingest_library"
"""Kind of the job."""

MOST_FAILURES: Final = 1_000
"""Files that failed and that the result names; it counts all."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to ingest, and with how much of the machine.

    `source` is a folder, a file, `s3://bucket/prefix`, or with `manifest` a list of such. `readers` documents
    are parsed at once. `embedders` models of its own the pipeline loads, each with `gpus` of a GPU; with none
    it asks the graph's, which lets questions go first. All of its processes stand `nice` steps back.
    """

    source: str
    manifest: bool = False
    subject: Subject | None = None
    readers: int = 2
    embedders: int = 0
    gpus: float = 0.0
    nice: int = 10

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "Order":
        """Return the order of a job."""
        subject = payload["subject"]
        return cls(**{**payload, "subject": None if subject is None else Subject(subject)})


async def find_owner(database: Database, name: str) -> UUID:
    """Return the account of an e-mail address or id.

    Raises:
        NotFound: there is none.
    """
    try:
        user_id: UUID | None = UUID(name)
    except ValueError:
        async with database.session(None) as session:
            login = await users.find_login(session, name)
        user_id = None if login is None else login.user_id
    if user_id is not None:
        async with database.session(user_id) as session:
            if await users.get(session, user_id) is not None:
                return user_id
    raise NotFound(f"Nobody has the account {name}.", code="user_not_found")


async def find_run(database: Database, owner: UUID, order: Order) -> Job | None:
    """Return the job that ingests the same source already, however much of the machine it was given."""
    same = {"source": order.source, "manifest": order.manifest}
    async with database.session(owner) as session:
        return await jobs.find_like(session, owner, LIBRARY, same)


async def open_run(database: Database, owner: UUID, order: Order) -> Job:
    """Make the job of an order."""
    async with database.session(owner) as session:
        return await jobs.create_apart(session, user_id=owner, kind=LIBRARY, payload=asdict(order))


async def close_run(database: Database, owner: UUID, job_id: UUID, reason: str) -> None:
    """Let a job fail whose program is gone; one that has ended stays as it is."""
    async with database.session(owner) as session:
        job = await jobs.get(session, job_id)
        if job is None or job.finished_at is not None:
            return
        if job.leased_by is None:
            await jobs.cancel(session, job_id)
        else:
            await jobs.fail(session, job_id, worker=job.leased_by, code="driver_lost", reason=reason)

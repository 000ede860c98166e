"""A job, as who waits for it sees it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories.jobs import Unit
from little_monster.platform.http.links import Links, link
from little_monster.platform.services.exports import EXPORT, has_expired
from little_monster.platform.services.jobs import eta_seconds


class JobFailure(BaseModel):
    """Why a job failed, or why it is tried again."""

    code: str = Field(description="For programs; does not change.", examples=["pdf_encrypted"])
    reason: str = Field(description="For people.")


class JobCounts(BaseModel):
    """How much of its stage a job has done, in units of its own."""

    done: int = Field(ge=0, examples=[32])
    total: int = Field(ge=0, examples=[120])
    unit: Unit


class JobView(BaseModel):
    """Long work."""

    id: UUID
    kind: str = Field(examples=["ingest_document"])
    status: JobStatus
    stage: str | None = Field(description="What it does now.", examples=["embedding"])
    progress: float = Field(ge=0, le=1)
    counts: JobCounts | None = Field(
        description="What its stage, or its last one, has done; null where there is nothing to count."
    )
    eta_seconds: int | None = Field(description="Seconds to its end at the pace so far; null when not known.")
    attempts: int
    error: JobFailure | None
    result: dict[str, Any] | None = Field(
        description="What it led to, by kind; null before it is completed.",
        examples=[{"pages": 12, "chunks": 120, "characters": 54321, "textless_pages": []}],
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="Until when the `file` of an export can be downloaded.")
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Show a row."""
        return cls(
            id=job.id,
            kind=job.kind,
            status=job.status,
            stage=job.stage,
            progress=job.progress,
            counts=_counts_of(job),
            eta_seconds=eta_seconds(job),
            attempts=job.attempts,
            error=_failure_of(job),
            result=job.result,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            expires_at=job.expires_at,
            links=_links_of(job),
        )


def _counts_of(job: Job) -> JobCounts | None:
    if job.done is None or job.total is None or job.unit is None:
        return None
    return JobCounts(done=job.done, total=job.total, unit=Unit(job.unit))


def _failure_of(job: Job) -> JobFailure | None:
    if job.error_code is None:
        return None
    return JobFailure(code=job.error_code, reason=job.error_reason or "")


def _links_of(job: Job) -> Links:
    links = {"self": link("jobs", job.id), "events": link("jobs", job.id, "events")}
    if job.subject_id is not None and job.kind.endswith("_document"):
        links["document"] = link("documents", job.subject_id)
    if job.kind == EXPORT and job.status == JobStatus.COMPLETED and not has_expired(job):
        links["file"] = link("users", job.user_id, "export", job.id)
    return links

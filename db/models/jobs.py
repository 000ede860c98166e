"""Long work that a user waits for, and the queue of it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Keyed, Stamped, Base):
    """One job. `progress` goes from 0 to 1; of the `total` units of its stage (`unit` says what they are)
    `done` are done, where there are some to count; `subject_id` is what it works on (the document of
    `ingest_document`); `queue_id` is its entry in `db.queue`, where it waits for a worker; `leased_by` is the
    one that has it. What it made is kept until `expires_at`, and `result` is null when it was removed.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
        CheckConstraint(
            "done >= 0 AND done <= total AND num_nulls(done, total, unit) IN (0, 3)", name="counts"
        ),
        Index("jobs_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
        Index("jobs_subject_idx", "subject_id"),
        Index("jobs_finished_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("jobs_active_idx", "updated_at", postgresql_where=text("status IN ('queued', 'running')")),
        # One file of everything at a time.
        Index(
            "jobs_one_export_idx",
            "user_id",
            unique=True,
            postgresql_where=text("kind = 'export_account' AND status IN ('queued', 'running')"),
        ),
        # Of all users: what concerns the whole index is done by one at a time.
        Index(
            "jobs_one_of_index_idx",
            "kind",
            unique=True,
            postgresql_where=text("kind IN ('reembed', 'verify_index') AND status IN ('queued', 'running')"),
        ),
        Index(
            "jobs_expiring_idx",
            "expires_at",
            postgresql_where=text("expires_at IS NOT NULL AND result IS NOT NULL"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str]
    status: Mapped[JobStatus] = mapped_column(
        pg_enum(JobStatus, "job_status"), default=JobStatus.QUEUED, server_default=JobStatus.QUEUED.value
    )
    stage: Mapped[str | None]
    progress: Mapped[float] = mapped_column(default=0.0, server_default=text("0"))
    done: Mapped[int | None]
    total: Mapped[int | None]
    unit: Mapped[str | None]
    subject_id: Mapped[UUID | None]
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    result: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(default=3, server_default=text("3"))
    queue_id: Mapped[int | None]
    leased_by: Mapped[str | None]
    started_at: Mapped[datetime | None] = mapped_column(sort_order=92)
    finished_at: Mapped[datetime | None] = mapped_column(sort_order=93)
    expires_at: Mapped[datetime | None] = mapped_column(sort_order=94)

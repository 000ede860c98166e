"""What users plan: lessons, exams, deadlines, times to study."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum
from little_monster.db.models.user_documents import Subject


class EventType(StrEnum):
    """Kinds of event."""

    STUDY = "study"
    EXAM = "exam"
    ASSIGNMENT = "assignment"
    CLASS = "class"
    REMINDER = "reminder"
    OTHER = "other"


class PlannerEvent(Keyed, Stamped, Base):
    """An event, or the first of a series of them.

    `time_zone` is an IANA name. A series keeps the clock time of `start_date` there; an event with `all_day`
    begins and ends at midnight there, and `end_date` is the first moment that is no longer part of it.
    `recurrence` is the value of an RRULE (RFC 5545, section 3.3.10), `exdates` the starts it leaves out, and
    `repeats_until` a moment after which none begins: null of a single event, and of a series without an end.
    `uid` and `sequence` are those of RFC 5545, sections 3.8.4.7 and 3.8.7.4.

    `next_reminder_at` is when the next reminder is due, and `next_reminder_for` the start that it reminds of;
    null when there is none. Services compute these and `repeats_until`, as SQL reads no RRULE.
    """

    __tablename__ = "planner_events"
    __table_args__ = (
        CheckConstraint("end_date >= start_date", name="dates"),
        UniqueConstraint("user_id", "uid"),
        Index("idx_planner_user_date", "user_id", "start_date"),
        Index("planner_events_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
        Index(
            "planner_events_series_idx",
            "user_id",
            "repeats_until",
            postgresql_where=text("recurrence IS NOT NULL"),
        ),
        Index(
            "planner_events_due_idx",
            "next_reminder_at",
            postgresql_where=text("next_reminder_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default=text("''"))
    location: Mapped[str] = mapped_column(default="", server_default=text("''"))
    subject: Mapped[Subject | None] = mapped_column(pg_enum(Subject, "subject"))
    type: Mapped[EventType] = mapped_column(
        pg_enum(EventType, "event_type"), default=EventType.OTHER, server_default=EventType.OTHER.value
    )
    start_date: Mapped[datetime]
    end_date: Mapped[datetime]
    time_zone: Mapped[str] = mapped_column(default="UTC", server_default=text("'UTC'"))
    all_day: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_completed: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    recurrence: Mapped[str | None]
    exdates: Mapped[list[datetime]] = mapped_column(
        ARRAY(TIMESTAMP(timezone=True)), default=list, server_default=text("'{}'")
    )
    repeats_until: Mapped[datetime | None]
    reminder_minutes: Mapped[list[int]] = mapped_column(
        ARRAY(Integer), default=list, server_default=text("'{}'")
    )
    next_reminder_at: Mapped[datetime | None]
    next_reminder_for: Mapped[datetime | None]
    uid: Mapped[str]
    sequence: Mapped[int] = mapped_column(default=0, server_default=text("0"))

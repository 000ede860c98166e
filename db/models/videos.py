"""Study videos, and what the community made of them."""

from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    FetchedValue,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.user_documents import Subject


class Difficulty(StrEnum):
    """How much a video takes for granted."""

    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"


class VideoStatus(StrEnum):
    """How far a video is, and who may see it: everybody sees a public one, its creator all of them.

    A video becomes public when moderation has approved what it says, see `Video.moderation_status`.
    """

    DRAFT = "draft"
    PROCESSING = "processing"
    PUBLIC = "public"
    PRIVATE = "private"
    FAILED = "failed"
    ARCHIVED = "archived"


class Video(Keyed, Stamped, Base):
    """A study video.

    `timestamps` are the seconds at which the key points begin, one each; `duration` is in seconds. Triggers
    keep `rating_avg` (0 without ratings), `rating_count` and `comment_count` (comments that everybody sees);
    `content.add_views` adds to `view_count`. Services may not write these four, which leave `updated_at`
    alone.

    `moderation_status` is the verdict on its text as it is: null when there is none, `pending` and `flagged`
    while its creator asks for it to be public. A trigger makes that of a text or a status that services
    write, and only the functions of `policies/moderation.py` write verdicts.
    """

    __tablename__ = "videos"
    __table_args__ = (
        CheckConstraint(
            "status <> 'public' OR moderation_status IS NOT DISTINCT FROM 'approved'", "moderated"
        ),
        # The target of the composite foreign key by which comments copy who may see the video.
        UniqueConstraint("created_by", "status", "id", name="videos_visibility_key"),
        Index("idx_videos_subject_created", "subject", text("created_at DESC"), text("id DESC")),
        Index("idx_videos_status_created", "status", text("created_at DESC"), text("id DESC")),
        Index("idx_videos_created_by", "created_by", text("created_at DESC"), text("id DESC")),
        Index("idx_videos_rating_avg", text("rating_avg DESC"), text("id DESC")),
        # With the parentheses that PostgreSQL shows it with, so that Alembic finds them equal.
        Index(
            "idx_videos_search",
            text("to_tsvector('english', (title || ' ') || topic)"),
            postgresql_using="gin",
        ),
        # Under row level security an enum's equality is no index condition, as it is not leakproof: these
        # give the order of the feed, and the rest filters.
        Index("videos_newest_idx", text("created_at DESC"), text("id DESC")),
        Index("videos_views_idx", text("view_count DESC"), text("id DESC")),
        Index("videos_tags_idx", "tags", postgresql_using="gin"),
        # The moderators' queue, oldest first, and what is tried again.
        Index(
            "videos_unapproved_idx",
            "created_at",
            "id",
            postgresql_where=text("moderation_status <> 'approved'"),
        ),
    )

    title: Mapped[str]
    subject: Mapped[Subject] = mapped_column(pg_enum(Subject, "subject"))
    difficulty: Mapped[Difficulty] = mapped_column(pg_enum(Difficulty, "difficulty"))
    topic: Mapped[str]
    created_by: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    status: Mapped[VideoStatus] = mapped_column(
        pg_enum(VideoStatus, "video_status"),
        default=VideoStatus.DRAFT,
        server_default=VideoStatus.DRAFT.value,
    )
    # The database writes these two: an INSERT of a service that named them would be refused.
    moderation_status: Mapped[ModerationStatus | None] = mapped_column(
        pg_enum(ModerationStatus, "moderation_status"), server_default=FetchedValue()
    )
    moderation_reason: Mapped[str | None] = mapped_column(server_default=FetchedValue())
    script_summary: Mapped[str | None]
    key_points: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    timestamps: Mapped[list[int]] = mapped_column(ARRAY(Integer), default=list, server_default=text("'{}'"))
    video_url: Mapped[str | None]
    thumbnail_url: Mapped[str | None]
    duration: Mapped[int | None]
    # No defaults of Python's: an INSERT that named these columns would be refused.
    rating_avg: Mapped[Decimal] = mapped_column(Numeric(), server_default=text("0"))
    rating_count: Mapped[int] = mapped_column(server_default=text("0"))
    view_count: Mapped[int] = mapped_column(server_default=text("0"))
    comment_count: Mapped[int] = mapped_column(server_default=text("0"))
    tags: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))

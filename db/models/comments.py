"""What people say under videos."""

from uuid import UUID

from sqlalchemy import FetchedValue, ForeignKey, ForeignKeyConstraint, Index, false, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.videos import VideoStatus


class Comment(Keyed, Stamped, Base):
    """A comment. Others see it when it is approved, not hidden, and they see its video.

    `video_created_by` and `video_status` are copies, made by a trigger and kept true by the composite foreign
    key: with them a row alone says who sees it, and no policy looks into another table for each row of a
    list.
    """

    __tablename__ = "comments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["video_id", "video_created_by", "video_status"],
            ["videos.id", "videos.created_by", "videos.status"],
            name="comments_video_id_fkey",
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        Index("idx_comments_video_id", "video_id", text("created_at DESC"), text("id DESC")),
        Index("comments_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
        # The moderators' queue, oldest first: what is not approved is little, and has an index of its own.
        Index("comments_oldest_idx", "created_at", "id"),
        Index(
            "comments_unapproved_idx",
            "created_at",
            "id",
            postgresql_where=text("moderation_status <> 'approved'"),
        ),
    )

    video_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    text: Mapped[str]
    # The database fills in the rest: an INSERT of a service that named these columns would be refused.
    is_hidden: Mapped[bool] = mapped_column(server_default=false())
    moderation_status: Mapped[ModerationStatus] = mapped_column(
        pg_enum(ModerationStatus, "moderation_status"), server_default=ModerationStatus.PENDING.value
    )
    moderation_reason: Mapped[str | None] = mapped_column(server_default=FetchedValue())
    video_created_by: Mapped[UUID] = mapped_column(server_default=FetchedValue())
    video_status: Mapped[VideoStatus] = mapped_column(
        pg_enum(VideoStatus, "video_status"), server_default=FetchedValue()
    )

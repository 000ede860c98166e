"""Stars that people give to videos."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped


class Rating(Keyed, Stamped, Base):
    """One user's rating of one video: 1 to 5 stars."""

    __tablename__ = "ratings"
    __table_args__ = (
        UniqueConstraint("video_id", "user_id", name="idx_ratings_video_user"),
        CheckConstraint("stars BETWEEN 1 AND 5", name="stars"),
        Index("ratings_user_idx", "user_id"),
    )

    video_id: Mapped[UUID] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    stars: Mapped[int]

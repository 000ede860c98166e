"""Secret addresses at which calendar programs read a user's planner."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class CalendarFeed(Keyed, Created, Base):
    """One address. `token_hash` is SHA-256, 32 bytes; the token itself is not kept."""

    __tablename__ = "calendar_feeds"
    __table_args__ = (Index("calendar_feeds_user_idx", "user_id", text("created_at DESC"), text("id DESC")),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    revoked_at: Mapped[datetime | None] = mapped_column(sort_order=91)
    last_used_at: Mapped[datetime | None] = mapped_column(sort_order=92)

"""Refresh tokens: only their hash is kept, and each is good for one use."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class RefreshToken(Keyed, Created, Base):
    """One refresh token. `family_id` joins all of one login; `token_hash` is SHA-256, 32 bytes."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("refresh_tokens_family_idx", "user_id", "family_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    family_id: Mapped[UUID]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

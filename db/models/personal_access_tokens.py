"""Personal access tokens: what a user's scripts show instead of logging in. Only their hash is kept."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class PersonalAccessToken(Keyed, Created, Base):
    """One token. `scopes` holds `read`, `write` or both; `token_hash` is SHA-256, 32 bytes."""

    __tablename__ = "personal_access_tokens"
    __table_args__ = (
        CheckConstraint("scopes <@ ARRAY['read', 'write'] AND cardinality(scopes) > 0", name="scopes"),
        Index("personal_access_tokens_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    scopes: Mapped[list[str]]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

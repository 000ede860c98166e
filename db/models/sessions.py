"""Log-ins that last: one row each, which all refresh tokens of that log-in belong to."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class LoginSession(Keyed, Created, Base):
    """One log-in; its `id` is the `family_id` of its refresh tokens.

    `address_prefix` is a network (`192.0.2.0/24`, `2001:db8:1::/48`), never a whole address.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
        Index("sessions_last_used_idx", "last_used_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    user_agent: Mapped[str | None]
    address_prefix: Mapped[str | None]
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=91)
    revoked_at: Mapped[datetime | None] = mapped_column(sort_order=92)

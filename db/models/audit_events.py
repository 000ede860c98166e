"""The audit trail of what touches the security of accounts. Rows are only ever added."""

from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class AuditEvent(Keyed, Created, Base):
    """One event. `user_id` is whose account it is about, None for an attempt on an account that there is
    none of; `actor_id` is who did it, None when nobody has proved who they are.

    Neither refers to `users`: the trail outlives the account.
    """

    __tablename__ = "audit_events"
    __table_args__ = (Index("audit_events_user_idx", "user_id", text("created_at DESC"), text("id DESC")),)

    user_id: Mapped[UUID | None]
    actor_id: Mapped[UUID | None]
    kind: Mapped[str]
    address_prefix: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))

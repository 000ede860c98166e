"""Accounts at other issuers of tokens: which of their subjects is which of our users."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class ExternalIdentity(Keyed, Created, Base):
    """One subject of an issuer (`iss` and `sub`). `email` is what the issuer said when it was linked;
    `last_used_at` is kept to the hour."""

    __tablename__ = "external_identities"
    __table_args__ = (
        UniqueConstraint("issuer", "subject", name="external_identities_subject_key"),
        Index("external_identities_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    issuer: Mapped[str]
    subject: Mapped[str]
    email: Mapped[str | None]
    last_used_at: Mapped[datetime | None]

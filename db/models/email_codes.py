"""One-time codes that prove who reads an e-mail address: only their hash is kept."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed, pg_enum


class EmailCodePurpose(StrEnum):
    """What a code may be used for."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"


class EmailCode(Keyed, Created, Base):
    """One code. `email` is the address that it was sent to; `code_hash` is SHA-256, 32 bytes."""

    __tablename__ = "email_codes"
    __table_args__ = (
        Index("email_codes_user_idx", "user_id", "purpose", text("created_at DESC")),
        Index("email_codes_expires_idx", "expires_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[EmailCodePurpose] = mapped_column(pg_enum(EmailCodePurpose, "email_code_purpose"))
    email: Mapped[str]
    code_hash: Mapped[bytes] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

"""The second factor: what a user's authenticator application shares with us."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created, Keyed


class TotpCredential(Keyed, Created, Base):
    """One a user. `secret` is encrypted; `last_used_step` counts periods of 30 seconds since 1970 (RFC 6238)
    and is that of the last code that was accepted. It is asked for once it is confirmed.
    """

    __tablename__ = "totp_credentials"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    secret: Mapped[bytes]
    confirmed_at: Mapped[datetime | None]
    last_used_step: Mapped[int | None]

"""Subjects of other issuers that are linked no longer, so that their tokens do not link them again."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base


class EndedIdentity(Base):
    """`digest` is SHA-256 of issuer and subject: nothing here names anybody. `barred` is one that its user
    unlinked; the others went with their account."""

    __tablename__ = "ended_identities"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime] = mapped_column(server_default=func.now())
    barred: Mapped[bool]

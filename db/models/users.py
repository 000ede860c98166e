"""People who have an account."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Keyed, Stamped, pg_enum


class UserRole(StrEnum):
    """What a user may do beyond their own things."""

    STUDENT = "student"
    MODERATOR = "moderator"
    ADMIN = "admin"


class User(Keyed, Stamped, Base):
    """An account. `email` is unique whatever its case; `password_hash` is an argon2id string."""

    __tablename__ = "users"
    __table_args__ = (
        Index("users_email_key", text("lower(email)"), unique=True),
        Index("users_newest_idx", text("created_at DESC"), text("id DESC")),
    )

    email: Mapped[str]
    password_hash: Mapped[str]
    display_name: Mapped[str]
    avatar_color: Mapped[str | None]
    subjects: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    role: Mapped[UserRole] = mapped_column(
        pg_enum(UserRole, "user_role"), default=UserRole.STUDENT, server_default=UserRole.STUDENT.value
    )
    last_active_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=92)
    email_verified_at: Mapped[datetime | None] = mapped_column(sort_order=93)

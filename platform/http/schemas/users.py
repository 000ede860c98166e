"""An account, as its owner sees it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from little_monster.db.models.users import User
from little_monster.platform.http.links import Links, link

_LINKS = {
    "self": link("users", "me"),
    "documents": link("documents"),
    "conversations": link("chat", "conversations"),
    "jobs": link("jobs"),
    "planner": link("planner", "events"),
    "notifications": link("notifications"),
}


class UserView(BaseModel):
    """An account."""

    id: UUID
    email: str
    display_name: str
    avatar_color: str | None
    subjects: list[str]
    preferences: dict[str, Any]
    role: str = Field(description="student, moderator or admin")
    created_at: datetime
    last_active_at: datetime
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, user: User) -> "UserView":
        """Show a row."""
        return cls(
            id=user.id,
            email=user.email,
            display_name=user.display_name,
            avatar_color=user.avatar_color,
            subjects=user.subjects,
            preferences=user.preferences,
            role=user.role,
            created_at=user.created_at,
            last_active_at=user.last_active_at,
            links=_LINKS,
        )

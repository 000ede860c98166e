"""An account, as its owner sees it."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from little_monster.db.models.users import User
from little_monster.db.repositories.users import UserStats
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body, Changes, Name, Password, optional, without_nul
from little_monster.platform.services.preferences import MAX_BYTES, MAX_DEPTH, check

MAX_SUBJECTS = 20

_LINKS = {
    "self": link("users", "me"),
    "stats": link("users", "me", "stats"),
    "documents": link("documents"),
    "conversations": link("chat", "conversations"),
    "jobs": link("jobs"),
    "planner": link("planner", "events"),
    "notifications": link("notifications"),
}


def _once(subjects: list[str]) -> list[str]:
    return [*dict.fromkeys(subjects)]


def _kept(value: Any) -> Any:
    return check(value) if isinstance(value, dict) else value


Color = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")]
StudiedSubject = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=50),
    AfterValidator(without_nul),
]
Preferences = Annotated[dict[str, Any], BeforeValidator(_kept)]


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
    email_verified_at: datetime | None = Field(
        description="When the user proved to read `email`; null: not yet."
    )
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
            email_verified_at=user.email_verified_at,
            links=_LINKS,
        )


class UserChange(Changes):
    """What to change of a profile; what is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [
                {
                    "display_name": "Ada Lovelace",
                    "avatar_color": "#4f46e5",
                    "subjects": ["Linear algebra", "Biology"],
                    "preferences": {"theme": "dark", "notifications": {"email": False}, "old_setting": None},
                }
            ],
        }
    )

    nullable: ClassVar[frozenset[str]] = frozenset({"avatar_color"})

    display_name: Name = optional()
    avatar_color: Color | None = Field(None, description="`#rrggbb`; null: none.")
    subjects: Annotated[list[StudiedSubject], AfterValidator(_once)] = optional(
        max_length=MAX_SUBJECTS,
        description="All of them: the list takes the old one's place.",
    )
    preferences: Preferences = optional(
        description="Merged into what is there as JSON Merge Patch (RFC 7396) has it: objects are merged, "
        f"null removes, all else replaces. At most {MAX_BYTES} bytes and {MAX_DEPTH} levels.",
    )


class AccountEnd(Body):
    """Proof that it is the owner who ends the account."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse battery staple"}]})

    password: Password = Field(min_length=1, max_length=256)


class UserStatsView(BaseModel):
    """How much a user has."""

    documents: int
    chunks: int = Field(description="Passages of all documents.")
    conversations: int
    messages: int
    storage_bytes: int = Field(description="Bytes of the uploaded files.")
    videos: int
    comments: int
    ratings: int
    events: int = Field(description="Events of the planner; a series is one.")
    last_activity_at: datetime = Field(
        description="The last log-in, upload, message, video, comment, rating or change of the planner."
    )
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, stats: UserStats) -> "UserStatsView":
        """Show figures."""
        return cls(
            documents=stats.documents,
            chunks=stats.chunks,
            conversations=stats.conversations,
            messages=stats.messages,
            storage_bytes=stats.storage_bytes,
            videos=stats.videos,
            comments=stats.comments,
            ratings=stats.ratings,
            events=stats.events,
            last_activity_at=stats.last_activity_at,
            links={"self": link("users", "me", "stats"), "user": link("users", "me")},
        )

"""Comments, as people write and moderators see them."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from little_monster.db.models.comments import Comment
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.platform.http.etags import tag_of
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body, Changes, Reason, optional, without_nul

CommentText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000),
    AfterValidator(without_nul),
    Field(examples=["The step at 0:42 made it clear, thank you."]),
]


class NewComment(Body):
    """A comment to write."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "video_id": "0197f3a0-5c1e-7d3a-9b1f-2f6f0c8e4a11",
                    "text": "The step at 0:42 made it clear, thank you.",
                }
            ]
        }
    )

    video_id: UUID
    text: CommentText


class CommentChange(Body):
    """Another text of one's comment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "The step at 0:42 made it clear."}]})

    text: CommentText


class CommentDecision(Changes):
    """What a moderator decides."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"status": "rejected", "reason": "Advertises something."}],
        }
    )

    nullable: ClassVar[frozenset[str]] = frozenset({"reason"})

    status: ModerationStatus = optional(description="Others see what is `approved`, unless it is hidden.")
    reason: Reason | None = Field(None, description="Its author reads it.")
    is_hidden: bool = optional(
        description="Takes it out of sight whatever its status, and whatever its author makes of it."
    )

    def columns(self) -> dict[str, Any]:
        """Return what was sent, as the columns are called."""
        names = {"status": "moderation_status", "reason": "moderation_reason"}
        return {names.get(name, name): value for name, value in self.given().items()}


class CommentView(BaseModel):
    """A comment. Only its author and moderators ever see one that is not `approved`, or hidden."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    video_id: UUID
    user_id: UUID
    text: str = Field(examples=["The step at 0:42 made it clear, thank you."])
    is_hidden: bool
    moderation_status: ModerationStatus
    moderation_reason: str | None = Field(
        description="Why others do not see it.", examples=["Automatic moderation: profanity"]
    )
    created_at: datetime
    updated_at: datetime
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, comment: Comment) -> "CommentView":
        """Show a row."""
        seen = comment.moderation_status is ModerationStatus.APPROVED and not comment.is_hidden
        return cls(
            id=comment.id,
            video_id=comment.video_id,
            user_id=comment.user_id,
            text=comment.text,
            is_hidden=comment.is_hidden,
            moderation_status=comment.moderation_status,
            # A moderator's note on what all may read is not for all.
            moderation_reason=None if seen else comment.moderation_reason,
            created_at=comment.created_at,
            updated_at=comment.updated_at,
            links={"self": link("comments", comment.id), "video": link("videos", comment.video_id)},
        )


def comment_tag(comment: Comment) -> str:
    """Return the entity tag of a comment, to its author and to moderators."""
    return tag_of(comment.updated_at)

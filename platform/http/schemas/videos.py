"""Study videos."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, Video, VideoStatus
from little_monster.platform.http.etags import counted, tag_of
from little_monster.platform.http.links import API, Link, Links
from little_monster.platform.http.schemas.texts import Body, Changes, Reason, optional, without_nul

MAX_TAGS = 20


def _distinct(tags: list[str]) -> list[str]:
    return [*dict.fromkeys(tags)]


Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(without_nul),
    Field(examples=["Photosynthesis in ten minutes"]),
]
Topic = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000),
    AfterValidator(without_nul),
    Field(examples=["How the light reactions make ATP"]),
]
Tag = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=40),
    AfterValidator(without_nul),
]
Tags = Annotated[
    list[Tag],
    Field(max_length=MAX_TAGS, description="In lower case, each once.", examples=[["plants", "exam"]]),
    AfterValidator(_distinct),
]


class NewVideo(Body):
    """A video to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Photosynthesis in ten minutes",
                    "topic": "How the light reactions make ATP",
                    "subject": "biology",
                    "difficulty": "beginner",
                    "tags": ["plants", "exam"],
                }
            ]
        }
    )

    title: Title
    topic: Topic
    subject: Subject
    difficulty: Difficulty = Difficulty.BEGINNER
    tags: Tags = Field([])


class VideoChanges(Changes):
    """What to change of a video."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"title": "Photosynthesis in five minutes", "tags": ["plants"]}],
        }
    )

    title: Title = optional()
    topic: Topic = optional()
    subject: Subject = optional()
    difficulty: Difficulty = optional()
    tags: Tags = optional()
    status: Literal[VideoStatus.DRAFT, VideoStatus.PUBLIC, VideoStatus.PRIVATE, VideoStatus.ARCHIVED] = (
        optional(
            description="`public` asks to show it to everybody, once there is something to watch: it is"
            " public when moderation has approved what it says, and stays as it was until then. Any other"
            " status takes that back."
        )
    )


class VideoDecision(Body):
    """What a moderator decides."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "rejected", "reason": "Advertises something."}]}
    )

    status: Literal[ModerationStatus.APPROVED, ModerationStatus.REJECTED] = Field(
        description="`approved` makes it public if its creator asks for that, `rejected` hides it."
    )
    reason: Reason | None = Field(None, description="Its creator reads it.")


class VideoView(BaseModel):
    """A study video."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    title: str = Field(examples=["Photosynthesis in ten minutes"])
    topic: str = Field(examples=["How the light reactions make ATP"])
    subject: Subject
    difficulty: Difficulty
    status: VideoStatus = Field(description="Everybody sees `public` ones, their creators all.")
    created_by: UUID
    moderation_status: ModerationStatus | None = Field(
        description="The verdict on what it says: null while nobody asked, `pending` and `flagged` while its"
        " creator asks for it to be public."
    )
    moderation_reason: str | None = Field(
        description="Why it is not public.", examples=["Automatic moderation: profanity"]
    )
    script_summary: str | None = Field(description="Null before it is made.")
    key_points: list[str]
    timestamps: list[int] = Field(description="Seconds at which the key points begin.", examples=[[0, 42]])
    video_url: str | None
    thumbnail_url: str | None
    duration: int | None = Field(description="Seconds.", examples=[180])
    rating_avg: float | None = Field(description="1 to 5; null while nobody rated it.", examples=[4.5])
    rating_count: int
    view_count: int = Field(description="Some seconds behind.")
    comment_count: int = Field(description="Comments that everybody sees.")
    tags: list[str]
    created_at: datetime
    updated_at: datetime = Field(description="When it was last edited; what is counted leaves it alone.")
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, video: Video) -> "VideoView":
        """Show a row."""
        # Made three times for each video of the feed: written once, and not by `link`, which quotes.
        key = str(video.id)
        return cls(
            id=video.id,
            title=video.title,
            topic=video.topic,
            subject=video.subject,
            difficulty=video.difficulty,
            status=video.status,
            created_by=video.created_by,
            moderation_status=video.moderation_status,
            # A moderator's note on what all may read is not for all.
            moderation_reason=None if video.status is VideoStatus.PUBLIC else video.moderation_reason,
            script_summary=video.script_summary,
            key_points=video.key_points,
            timestamps=video.timestamps,
            video_url=video.video_url,
            thumbnail_url=video.thumbnail_url,
            duration=video.duration,
            rating_avg=round(float(video.rating_avg), 2) if video.rating_count else None,
            rating_count=video.rating_count,
            view_count=video.view_count,
            comment_count=video.comment_count,
            tags=video.tags,
            created_at=video.created_at,
            updated_at=video.updated_at,
            links={
                "self": Link(href=f"{API}/videos/{key}"),
                "comments": Link(href=f"{API}/comments?video_id={key}"),
                "ratings": Link(href=f"{API}/ratings?video_id={key}"),
            },
        )


class FirstPage(BaseModel):
    """What is kept of the first page of the feed; its links are made for each request."""

    items: list[VideoView]
    next_cursor: str | None

    @classmethod
    def read(cls, body: bytes | None) -> Self | None:
        """Return what was kept; None when there is nothing, or what another version of this code kept."""
        try:
            return None if body is None else cls.model_validate_json(body)
        except ValidationError:
            return None


def video_tag(video: Video) -> str:
    """Return the entity tag of a video."""
    # What is counted is shown, and leaves `updated_at` alone.
    counts = (video.view_count, video.rating_count, video.rating_avg, video.comment_count)
    return counted(tag_of(video.updated_at), *counts)

"""Study videos."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, Video, VideoStatus
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body, Changes, optional, without_nul

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
Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(without_nul),
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
        optional(description="`public` shows it to everybody, once there is something to watch.")
    )


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
        return cls(
            id=video.id,
            title=video.title,
            topic=video.topic,
            subject=video.subject,
            difficulty=video.difficulty,
            status=video.status,
            created_by=video.created_by,
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
                "self": link("videos", video.id),
                "comments": link("comments", video_id=video.id),
                "ratings": link("ratings", video_id=video.id),
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

"""Ratings of videos."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from little_monster.db.models.ratings import Rating
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body
from little_monster.platform.services.ratings import Ratings


class NewRating(Body):
    """Stars to give to a video."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"video_id": "0197f3a0-5c1e-7d3a-9b1f-2f6f0c8e4a11", "stars": 4}]}
    )

    video_id: UUID
    stars: int = Field(ge=1, le=5, strict=True, examples=[4])


class RatingView(BaseModel):
    """One's own rating of a video; other people's are never shown one by one."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    video_id: UUID
    user_id: UUID
    stars: int = Field(examples=[4])
    created_at: datetime
    updated_at: datetime
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, rating: Rating) -> "RatingView":
        """Show a row."""
        return cls(
            id=rating.id,
            video_id=rating.video_id,
            user_id=rating.user_id,
            stars=rating.stars,
            created_at=rating.created_at,
            updated_at=rating.updated_at,
            links={
                "self": link("ratings", "user", rating.user_id, "video", rating.video_id),
                "video": link("videos", rating.video_id),
            },
        )


class RatingsView(BaseModel):
    """How a video was rated, and how one rated it oneself."""

    model_config = ConfigDict(populate_by_name=True)

    video_id: UUID
    average: float | None = Field(description="1 to 5; null while nobody rated it.", examples=[4.5])
    count: int = Field(examples=[2])
    distribution: dict[int, int] = Field(
        description="How many gave 1, 2, 3, 4 and 5 stars.",
        examples=[{"1": 0, "2": 0, "3": 0, "4": 1, "5": 1}],
    )
    own: RatingView | None = Field(description="Null while one has not rated it.")
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, ratings: Ratings) -> "RatingsView":
        """Show the ratings of a video."""
        return cls(
            video_id=ratings.video_id,
            average=None if ratings.average is None else round(ratings.average, 2),
            count=ratings.count,
            distribution=dict(ratings.distribution),
            own=None if ratings.own is None else RatingView.of(ratings.own),
            links={
                "self": link("ratings", video_id=ratings.video_id),
                "video": link("videos", ratings.video_id),
            },
        )

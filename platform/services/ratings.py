"""Ratings: give stars, and see how many others gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from little_monster.db.errors import RowRefused
from little_monster.db.models.ratings import Rating
from little_monster.db.repositories import ratings
from little_monster.db.session import Database, Session
from little_monster.platform.errors import NotFound
from little_monster.platform.services.videos import no_video, require_video


@dataclass(frozen=True, slots=True)
class Ratings:
    """How many gave how many stars (1 to 5, all of them), and what the viewer gave."""

    video_id: UUID
    distribution: Mapping[int, int]
    own: Rating | None

    @property
    def count(self) -> int:
        """How many rated."""
        return sum(self.distribution.values())

    @property
    def average(self) -> float | None:
        """The average of the stars; None while there are none."""
        total = sum(stars * count for stars, count in self.distribution.items())
        return total / self.count if self.count else None


async def rate_video(database: Database, user_id: UUID, video_id: UUID, stars: int) -> Rating:
    """Rate the video, or change one's rating of it.

    Raises:
        NotFound: there is no such video, or the user may not see it.
    """
    try:
        put = partial(ratings.put, video_id=video_id, user_id=user_id, stars=stars)
        return await database.run(user_id, put)
    except RowRefused:
        raise no_video() from None


async def read_ratings(database: Database, viewer: UUID, video_id: UUID) -> Ratings:
    """Return the ratings of the video. Raises as `rate_video`."""

    async def find(session: Session) -> Ratings:
        await require_video(session, video_id)
        distribution = await ratings.count_stars(session, video_id)
        own = await ratings.get(session, video_id=video_id, user_id=viewer)
        return Ratings(video_id, distribution, own)

    return await database.query(viewer, find)


async def read_rating(database: Database, viewer: UUID, user_id: UUID, video_id: UUID) -> Rating:
    """Return the user's rating of the video.

    Raises:
        NotFound: there is none, or it is not the viewer's.
    """
    rating = await database.query(viewer, partial(ratings.get, video_id=video_id, user_id=user_id))
    if rating is None:
        raise NotFound("There is no such rating.", code="rating_not_found")
    return rating

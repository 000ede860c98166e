"""Ratings of videos."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from little_monster.platform.errors import InvalidInput, NotFound, Unauthenticated
from little_monster.platform.http.dependencies import AskedVideo, CurrentUser, Idempotent, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import IdempotentRoute
from little_monster.platform.http.links import link
from little_monster.platform.http.schemas.ratings import NewRating, RatingsView, RatingView
from little_monster.platform.services import ratings

router = APIRouter(prefix="/ratings", tags=["ratings"], route_class=IdempotentRoute)


@router.post(
    "",
    status_code=201,
    summary="Rate a video",
    dependencies=[Idempotent],
    responses={
        200: {"model": RatingView, "description": "There was a rating, which is changed."},
        201: {
            "description": "The first rating by this user.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problem_responses(Unauthenticated, NotFound, InvalidInput),
    },
)
async def rate_video(
    body: NewRating, response: Response, user: CurrentUser, resources: ResourcesDep
) -> RatingView:
    """Give a video 1 to 5 stars, or other stars than before."""
    rating = await ratings.rate_video(resources.database, user.user_id, body.video_id, body.stars)
    # Both are the moment of the transaction that made it.
    response.status_code = 201 if rating.created_at == rating.updated_at else 200
    response.headers["Location"] = link("ratings", "user", rating.user_id, "video", rating.video_id).href
    return RatingView.of(rating)


@router.get(
    "",
    summary="Show how a video was rated",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def get_ratings(user: CurrentUser, resources: ResourcesDep, video_id: AskedVideo) -> RatingsView:
    """Show how many gave how many stars, and one's own rating."""
    return RatingsView.of(await ratings.read_ratings(resources.database, user.user_id, video_id))


@router.get(
    "/user/{user_id}/video/{video_id}",
    summary="Show one's own rating of a video",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_rating(
    user_id: UUID,
    video_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> RatingView:
    """Show a user's rating of a video: only that user sees it."""
    rating = await ratings.read_rating(resources.database, user.user_id, user_id, video_id)
    show(request, response, tag_of(rating.updated_at))
    return RatingView.of(rating)

"""Study videos: the feed, and what is done with one."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from little_monster.db.models.user_documents import Subject
from little_monster.db.models.videos import Difficulty, VideoStatus
from little_monster.db.repositories.videos import VideoFilter, VideoOrder
from little_monster.platform.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)
from little_monster.platform.http.dependencies import CurrentUser, Idempotent, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import IdempotentRoute
from little_monster.platform.http.links import link
from little_monster.platform.http.pagination import (
    Listing,
    Page,
    PageDep,
    listing,
    listing_of,
    nothing_to_be_relevant_to,
    position_of,
)
from little_monster.platform.http.schemas.texts import Words
from little_monster.platform.http.schemas.videos import (
    MAX_TAGS,
    FirstPage,
    NewVideo,
    Tag,
    VideoChanges,
    VideoView,
    video_tag,
)
from little_monster.platform.services import feed, videos

router = APIRouter(prefix="/videos", tags=["videos"], route_class=IdempotentRoute)


@router.get(
    "",
    summary="List videos",
    response_model=Listing[VideoView],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def list_videos(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    q: Annotated[
        Words | None, Query(description='Words of title or topic: `cell -wall "light reaction"`.')
    ] = None,
    subject: Annotated[Subject | None, Query(description="Only videos of this subject.")] = None,
    difficulty: Annotated[Difficulty | None, Query(description="Only videos of this difficulty.")] = None,
    created_by: Annotated[UUID | None, Query(description="Only videos of this user.")] = None,
    status: Annotated[
        VideoStatus, Query(description="Other than `public`: one's own, such as drafts.")
    ] = VideoStatus.PUBLIC,
    tags: Annotated[
        list[Tag], Query(max_length=MAX_TAGS, description="Only videos with all of these tags.")
    ] = [],  # noqa: B006 - FastAPI makes a list for each request.
    sort: Annotated[
        VideoOrder | None,
        Query(description="Left out: `relevance` with `q`, else `newest`. `relevance` needs `q`."),
    ] = None,
) -> dict[str, Any]:
    """List the feed: public videos, filtered, searched and sorted; or one's own videos of another status.

    `relevance` puts the newest 1,000 videos that are found in order; the other orders hold all of them. What
    is counted of the videos may be five minutes behind on the first page of public ones.
    """
    wanted = VideoFilter(status, created_by, subject, difficulty, q, tuple(tags))
    order = sort or (VideoOrder.NEWEST if q is None else VideoOrder.RELEVANCE)
    if order is VideoOrder.RELEVANCE and q is None:
        raise nothing_to_be_relevant_to()
    slot = await feed.find(resources.redis, wanted, order, page.limit) if page.cursor is None else None
    if slot is not None and (kept := FirstPage.read(slot.body)) is not None:
        return listing_of(request, response, page, kept.items, kept.next_cursor)
    after, as_of = _after(page, order)
    # What a replica said before the last change would be kept as what is there after it.
    rows = await videos.list_videos(
        resources.database,
        user,
        wanted,
        order=order,
        limit=page.fetch,
        after=after,
        as_of=as_of,
        fresh=slot is not None,
    )
    answer = listing(
        request,
        response,
        page,
        rows,
        view=lambda row: VideoView.of(row.video),
        position=lambda row: position_of(order.value, row.value, row.video.id, row.newest),
    )
    if slot is not None:
        first = FirstPage(items=answer["items"], next_cursor=answer["next_cursor"])
        await feed.keep(resources.redis, slot, first.model_dump_json(by_alias=True))
    return answer


@router.post(
    "",
    status_code=201,
    summary="Begin a video",
    dependencies=[Idempotent],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def create_video(
    body: NewVideo, response: Response, user: CurrentUser, resources: ResourcesDep
) -> VideoView:
    """Make a draft, which only its creator sees: what the video is to be about. Nothing is generated yet, so
    that a draft has no script and nothing to watch."""
    video = await videos.create_video(
        resources.database,
        user.user_id,
        title=body.title,
        topic=body.topic,
        subject=body.subject,
        difficulty=body.difficulty,
        tags=body.tags,
    )
    response.headers["Location"] = link("videos", video.id).href
    return VideoView.of(video)


@router.get(
    "/{video_id}",
    summary="Show a video",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_video(
    video_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> VideoView:
    """Show a video, and count the view of a public one by anybody but its creator."""
    video = await videos.read_video(resources, user.user_id, video_id)
    show(request, response, video_tag(video))
    return VideoView.of(video)


@router.patch(
    "/{video_id}",
    summary="Change a video",
    responses=problem_responses(Unauthenticated, NotFound, Conflict, InvalidInput, PreconditionFailed),
)
async def change_video(
    video_id: UUID,
    body: VideoChanges,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> VideoView:
    """Change one's own video; moderators may change anybody's. It can be public once there is something to
    watch, and is when moderation has approved what it says; so is every change of a public one."""
    video = await videos.change_video(
        resources, user.user_id, video_id, body.given(), check=if_match(request, video_tag)
    )
    response.headers["ETag"] = video_tag(video)
    return VideoView.of(video)


@router.delete(
    "/{video_id}",
    status_code=204,
    summary="Delete a video",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def delete_video(video_id: UUID, request: Request, user: CurrentUser, resources: ResourcesDep) -> None:
    """Delete one's own video with its comments and ratings; moderators may delete anybody's."""
    await videos.delete_video(resources, user.user_id, video_id, check=if_match(request, video_tag))


def _after(page: Page, order: VideoOrder) -> tuple[tuple[datetime | Decimal, UUID] | None, datetime | None]:
    """Return what is behind the cursor, and the moment of its list."""
    if order is VideoOrder.NEWEST:
        return page.after, None
    position = page.after_number(order.value)
    return (None, None) if position is None else ((position.number, position.key), position.as_of)

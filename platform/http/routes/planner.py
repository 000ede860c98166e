"""The planner: events, calendar feeds, calendar files."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.platform.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unauthenticated,
    UnsupportedFile,
)
from little_monster.platform.http.dependencies import CurrentUser, Idempotent, LoggedInUser, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, REVALIDATE, if_match, is_known, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import IdempotentRoute
from little_monster.platform.http.links import absolute, link
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.planner import (
    EventChanges,
    EventView,
    FeedView,
    ImportView,
    Moment,
    NewEvent,
    NewFeedView,
)
from little_monster.platform.resources import Resources
from little_monster.platform.services.planner import calendars, events, feeds, imports
from little_monster.platform.services.planner.feeds import FeedTokens

router = APIRouter(prefix="/planner", tags=["planner"], route_class=IdempotentRoute)
CALENDAR = "text/calendar; charset=utf-8"

_ETAG: dict[str, Any] = {"headers": {"ETag": {"schema": {"type": "string"}}}}
_FILE: dict[str, Any] = {"content": {"text/calendar": {"schema": {"type": "string"}}}}
_EXAMPLE = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example.org//timetable//EN
BEGIN:VEVENT
UID:algebra-1@example.org
DTSTAMP:20261001T080000Z
DTSTART:20261019T091500Z
DTEND:20261019T104500Z
SUMMARY:Linear algebra
END:VEVENT
END:VCALENDAR
"""
_IMPORTED: dict[str, Any] = {
    "content": {
        "text/calendar": {
            **_FILE["content"]["text/calendar"],
            "examples": {"one event": {"value": _EXAMPLE.replace("\n", "\r\n")}},
        }
    }
}


async def _filters(
    type: Annotated[EventType | None, Query(description="Only events of this type.")] = None,
    subject: Annotated[Subject | None, Query(description="Only events of this subject.")] = None,
    is_completed: Annotated[bool | None, Query(description="Only those done, or not done.")] = None,
) -> events.Filters:
    return events.Filters(type, subject, is_completed)


Filters = Annotated[events.Filters, Depends(_filters)]


@router.get(
    "/events",
    summary="List one's own events",
    response_model=Listing[EventView],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def list_events(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    filters: Filters,
    begin: Annotated[
        Moment | None,
        Query(alias="from", description="Begin of a range: what takes place in it is listed."),
    ] = None,
    end: Annotated[
        Moment | None, Query(alias="to", description="End of the range, at most 366 days later.")
    ] = None,
) -> dict[str, Any]:
    """List events, newest first. With a range, list what takes place in it, the earliest first: an event that
    recurs once for each `occurrence`."""
    if begin is None and end is None:
        rows = await events.list_events(
            resources.database, user.user_id, filters, limit=page.fetch, after=page.after
        )
        return listing(request, response, page, rows, view=EventView.of, position=_event_position)
    planned = await events.list_planned(
        resources.database,
        user.user_id,
        filters,
        begin=_aware("from", begin),
        end=_aware("to", end),
        limit=page.fetch,
        after=page.after,
    )
    return listing(request, response, page, planned, view=EventView.at, position=_planned_position)


@router.post(
    "/events",
    status_code=201,
    summary="Plan an event",
    dependencies=[Idempotent],
    responses={201: _ETAG, **problem_responses(Unauthenticated, InvalidInput, Conflict)},
)
async def create_event(
    body: NewEvent, response: Response, user: CurrentUser, resources: ResourcesDep
) -> EventView:
    """Plan an event, once or recurring."""
    event = await events.create_event(resources.database, user.user_id, body.draft())
    response.headers["Location"] = link("planner", "events", event.id).href
    return _shown(response, event)


@router.get(
    "/events/{event_id}",
    summary="Show an event",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_event(
    event_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> EventView:
    """Show an event."""
    event = await events.read_event(resources.database, user.user_id, event_id)
    show(request, response, _version(event))
    return EventView.of(event)


@router.patch(
    "/events/{event_id}",
    summary="Change an event",
    responses=problem_responses(Unauthenticated, NotFound, PreconditionFailed, InvalidInput, Conflict),
)
async def change_event(
    event_id: UUID,
    body: EventChanges,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> EventView:
    """Change an event, all of its occurrences; `exdates` leaves some out. Set `is_completed` when it is
    done."""
    event = await events.update_event(
        resources.database, user.user_id, event_id, body.given(), check=if_match(request, _version)
    )
    return _shown(response, event)


@router.delete(
    "/events/{event_id}",
    status_code=204,
    summary="Delete an event",
    responses=problem_responses(Unauthenticated, NotFound, PreconditionFailed, InvalidInput),
)
async def delete_event(event_id: UUID, request: Request, user: CurrentUser, resources: ResourcesDep) -> None:
    """Delete an event, all of its occurrences."""
    await events.delete_event(resources.database, user.user_id, event_id, check=if_match(request, _version))


@router.post(
    "/feed",
    status_code=201,
    summary="Make a calendar feed",
    responses=problem_responses(Unauthenticated, Forbidden, Conflict),
)
async def create_feed(
    request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep
) -> NewFeedView:
    """Make a secret address at which a calendar program reads the planner (iCalendar). It is shown once."""
    made = await feeds.create_feed(resources.database, user.user_id, _tokens(resources))
    response.headers["Cache-Control"] = "no-store"
    path = link("planner", "calendar", f"{made.token}.ics").href
    shown = FeedView.of(made.feed)
    url = absolute(request, path, resources.settings.api.public_url)
    return NewFeedView(**shown.model_dump(), url=url)


@router.delete(
    "/feed",
    status_code=204,
    summary="Revoke all calendar feeds",
    responses=problem_responses(Unauthenticated, Forbidden),
)
async def revoke_feeds(user: LoggedInUser, resources: ResourcesDep) -> None:
    """Revoke all addresses at which calendar programs read the planner."""
    await feeds.revoke_feeds(resources.database, user.user_id)


@router.get(
    "/feeds",
    summary="List one's own calendar feeds",
    response_model=Listing[FeedView],
    responses=problem_responses(Unauthenticated, Forbidden, InvalidInput),
)
async def list_feeds(
    request: Request, response: Response, user: LoggedInUser, resources: ResourcesDep, page: PageDep
) -> dict[str, Any]:
    """List feeds, newest first, those that are revoked too."""
    rows = await feeds.list_feeds(resources.database, user.user_id, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=FeedView.of, position=_feed_position)


@router.get(
    "/feeds/{feed_id}",
    summary="Show a calendar feed",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def get_feed(feed_id: UUID, user: LoggedInUser, resources: ResourcesDep) -> FeedView:
    """Show a feed, one that is revoked too."""
    return FeedView.of(await feeds.show_feed(resources.database, user.user_id, feed_id))


@router.delete(
    "/feeds/{feed_id}",
    status_code=204,
    summary="Revoke a calendar feed",
    responses=problem_responses(Unauthenticated, Forbidden, NotFound, InvalidInput),
)
async def revoke_feed(feed_id: UUID, user: LoggedInUser, resources: ResourcesDep) -> None:
    """Revoke one address."""
    await feeds.revoke_feed(resources.database, user.user_id, feed_id)


@router.get(
    "/calendar/{token}.ics",
    summary="Read a calendar feed",
    response_class=Response,
    responses={
        200: {"description": "The planner: a year past, and all to come.", **_FILE},
        **NOT_MODIFIED,
        **problem_responses(NotFound, InvalidInput),
    },
)
async def get_calendar(token: str, request: Request, resources: ResourcesDep) -> Response:
    """Read the planner as an iCalendar file (RFC 5545). The secret address is all that this needs."""
    contents = await feeds.read_feed(
        resources.database,
        _tokens(resources),
        token,
        is_known=lambda version: is_known(request, _tag(version)),
    )
    headers = {
        "ETag": _tag(contents.version),
        "Cache-Control": REVALIDATE,
        "Content-Disposition": 'inline; filename="little-monster.ics"',
    }
    if contents.events is None:
        return Response(status_code=304, headers=headers)
    file = await calendars.render_in_thread(contents.events)
    return Response(file, headers=headers, media_type=CALENDAR)


@router.post(
    "/import",
    summary="Import a calendar file",
    openapi_extra={"requestBody": {"required": True, **_IMPORTED}},
    responses=problem_responses(Unauthenticated, TooLarge, UnsupportedFile, InvalidInput, Conflict),
)
async def import_calendar(
    request: Request,
    user: CurrentUser,
    resources: ResourcesDep,
    time_zone: Annotated[
        str,
        Query(max_length=64, description="Of days, and of times without a time zone, as an IANA name."),
    ] = "UTC",
) -> ImportView:
    """Store the events of an iCalendar file (RFC 5545), at most 1 MiB and 1,000 events. Events that are there
    by their UID are changed, unless they have a higher SEQUENCE, and those that the file cancels are deleted.
    When one cannot be kept none is, and `errors` says why."""
    _require_calendar(request)
    imported = await imports.import_calendar(
        resources.database, user.user_id, await request.body(), time_zone=time_zone
    )
    return ImportView.of(imported)


def _require_calendar(request: Request) -> None:
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "text/calendar":
        raise UnsupportedFile("The file must be sent as text/calendar.")


def _shown(response: Response, event: PlannerEvent) -> EventView:
    response.headers["ETag"] = _version(event)
    return EventView.of(event)


def _aware(name: str, moment: datetime | None) -> datetime:
    if moment is None or moment.tzinfo is None:
        message = "a range needs `from` and `to`, each with its offset: 2026-10-01T00:00:00Z"
        raise InvalidInput(
            f"Without `{name}`: {message}.",
            code="invalid_range",
            errors=[{"field": f"query.{name}", "message": message}],
        )
    return moment


def _tokens(resources: Resources) -> FeedTokens:
    return FeedTokens(resources.settings.auth)


def _version(event: PlannerEvent) -> str:
    return tag_of(event.updated_at)


def _tag(version: str) -> str:
    return f'"{version}"'


def _event_position(event: PlannerEvent) -> tuple[datetime, UUID]:
    return event.created_at, event.id


def _planned_position(planned: events.Planned) -> tuple[datetime, UUID]:
    return planned.position


def _feed_position(feed: CalendarFeed) -> tuple[datetime, UUID]:
    return feed.created_at, feed.id

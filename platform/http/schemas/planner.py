"""Events of the planner, calendar feeds, and what came of an import."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.user_documents import Subject
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body, Changes, optional, without_nul
from little_monster.platform.services.planner.drafts import (
    MAX_DESCRIPTION_CHARS,
    MAX_EXDATES,
    MAX_LOCATION_CHARS,
    MAX_REMINDER_MINUTES,
    MAX_REMINDERS,
    MAX_TITLE_CHARS,
    Draft,
)
from little_monster.platform.services.planner.events import Planned
from little_monster.platform.services.planner.imports import Imported
from little_monster.platform.services.planner.rules import MAX_RULE_CHARS


def _text(value: Any) -> Any:
    # Else a number would be read as seconds since 1970.
    if not isinstance(value, str | datetime):
        raise ValueError("must be a text")
    return value


Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE_CHARS),
    AfterValidator(without_nul),
]
Description = Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION_CHARS), AfterValidator(without_nul)]
Location = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_LOCATION_CHARS),
    AfterValidator(without_nul),
]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Moment = Annotated[datetime, BeforeValidator(_text, json_schema_input_type=str)]
Rule = Annotated[str, StringConstraints(min_length=1, max_length=MAX_RULE_CHARS)]
Exdates = Annotated[list[Moment], Field(max_length=MAX_EXDATES)]
Minutes = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_REMINDER_MINUTES, strict=True)]], Field(max_length=MAX_REMINDERS)
]

_START = "With an offset, or the clock time in `time_zone`; of an `all_day` event only the date counts."
_END = "As `start_date`; no longer part of the event. Empty: no length, of an `all_day` event one day."
_ZONE = "IANA name. A series keeps its clock time there when clocks are changed."
_RULE = (
    "Value of an RRULE (RFC 5545): FREQ of DAILY to YEARLY with INTERVAL, COUNT, UNTIL, BYDAY, BYMONTHDAY,"
    " BYYEARDAY, BYMONTH, BYSETPOS, WKST. The event is the first of the series."
)
_EXDATES = "Starts of occurrences that do not take place."
_MINUTES = "How many minutes before each start to remind; a notification each."


class NewEvent(Body):
    """An event to plan."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Linear algebra",
                    "location": "Room 101",
                    "type": "class",
                    "start_date": "2026-10-19T09:15:00",
                    "end_date": "2026-10-19T10:45:00",
                    "time_zone": "Europe/Berlin",
                    "recurrence": "FREQ=WEEKLY;BYDAY=MO,WE",
                    "exdates": ["2026-10-21T09:15:00"],
                    "reminder_minutes": [15, 1440],
                }
            ]
        }
    )

    title: Title = Field(examples=["Linear algebra"])
    description: Description = ""
    location: Location = ""
    subject: Subject | None = None
    type: EventType = EventType.OTHER
    start_date: Moment = Field(description=_START, examples=["2026-10-19T09:15:00"])
    end_date: Moment | None = Field(None, description=_END, examples=["2026-10-19T10:45:00"])
    time_zone: Zone = Field("UTC", description=_ZONE, examples=["Europe/Berlin"])
    all_day: bool = False
    is_completed: bool = False
    recurrence: Rule | None = Field(None, description=_RULE, examples=["FREQ=WEEKLY;BYDAY=MO,WE"])
    exdates: Exdates = Field([], description=_EXDATES)
    reminder_minutes: Minutes = Field([], description=_MINUTES, examples=[[15, 1440]])

    def draft(self) -> Draft:
        """Return what the service takes."""
        return Draft(**{name: getattr(self, name) for name in type(self).model_fields})


class EventChanges(Changes):
    """What to change of an event; what is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [
                {"is_completed": True, "location": "Room 102", "recurrence": None, "reminder_minutes": [30]}
            ],
        }
    )
    nullable = frozenset({"subject", "end_date", "recurrence"})

    title: Title = optional()
    description: Description = optional()
    location: Location = optional()
    subject: Subject | None = Field(None, description="Null: none.")
    type: EventType = optional()
    start_date: Moment = optional(description=_START)
    end_date: Moment | None = Field(None, description=_END)
    time_zone: Zone = optional(description=_ZONE)
    all_day: bool = optional()
    is_completed: bool = optional()
    recurrence: Rule | None = Field(None, description=f"{_RULE} Null: it no longer recurs.")
    exdates: Exdates = optional(description=_EXDATES)
    reminder_minutes: Minutes = optional(description=_MINUTES)


class OccurrenceView(BaseModel):
    """One time that an event takes place."""

    start_date: datetime
    end_date: datetime


class EventView(BaseModel):
    """An event. `start_date` and `end_date` are those of the first of a series."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    title: str
    description: str
    location: str
    subject: Subject | None
    type: EventType
    start_date: datetime
    end_date: datetime = Field(description="The first moment that is no longer part of the event.")
    time_zone: str
    all_day: bool
    is_completed: bool
    recurrence: str | None
    exdates: list[datetime]
    reminder_minutes: list[int]
    next_reminder_at: datetime | None
    uid: str = Field(description="UID of the event in calendar files; does not change.")
    sequence: int = Field(description="Counts the changes that calendars show.")
    created_at: datetime
    updated_at: datetime
    occurrence: OccurrenceView | None = Field(
        None, description="In the answer to a range: which of its times this is."
    )
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, event: PlannerEvent) -> "EventView":
        """Show a row."""
        shown = {name: getattr(event, name) for name in cls.model_fields if name not in _MADE}
        return cls(**shown, links={"self": link("planner", "events", event.id)})

    @classmethod
    def at(cls, planned: Planned) -> "EventView":
        """Show a row, and when it takes place."""
        one = planned.occurrence
        occurrence = OccurrenceView(start_date=one.start, end_date=one.end)
        return cls.of(planned.event).model_copy(update={"occurrence": occurrence})


_MADE = ("occurrence", "links")


class FeedView(BaseModel):
    """An address at which calendar programs read the planner. The address itself was shown once."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    created_at: datetime
    last_used_at: datetime | None = Field(description="To within ten minutes.")
    revoked_at: datetime | None
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, feed: CalendarFeed) -> "FeedView":
        """Show a row."""
        return cls(
            id=feed.id,
            created_at=feed.created_at,
            last_used_at=feed.last_used_at,
            revoked_at=feed.revoked_at,
            links={"self": link("planner", "feeds", feed.id)},
        )


class NewFeedView(FeedView):
    """A new feed with its address, which is not shown again. Who has it can read the planner."""

    url: str = Field(description="Secret.", examples=["https://example.org/api/v1/planner/calendar/….ics"])


class ImportView(BaseModel):
    """What came of a calendar file."""

    created: int
    updated: int = Field(description="Events that were there, by their UID, and are now as the file says.")
    unchanged: int
    deleted: int = Field(description="Events that the file cancels, or has no more beside their series.")
    ignored: int = Field(
        description="Entries that are no events, are cancelled, or are older than what is there."
    )

    @classmethod
    def of(cls, imported: Imported) -> "ImportView":
        """Show what an import led to."""
        return cls(
            created=imported.created,
            updated=imported.updated,
            unchanged=imported.unchanged,
            deleted=imported.deleted,
            ignored=imported.ignored,
        )

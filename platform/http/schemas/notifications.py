"""What a user is told."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from little_monster.db.models.notifications import Notification
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body


class NotificationView(BaseModel):
    """One thing that a user is told."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    kind: str = Field(examples=["reminder"])
    title: str
    body: str
    data: dict[str, Any] = Field(
        description="Of a `reminder`: `event_id`, `type`, `starts_at`, `time_zone`, `all_day`, `due_at`."
    )
    read_at: datetime | None
    created_at: datetime
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, notification: Notification) -> "NotificationView":
        """Show a row."""
        links = {"self": link("notifications", notification.id)}
        if notification.kind == "reminder" and notification.subject_id is not None:
            links["event"] = link("planner", "events", notification.subject_id)
        return cls(
            id=notification.id,
            kind=notification.kind,
            title=notification.title,
            body=notification.body,
            data=notification.data,
            read_at=notification.read_at,
            created_at=notification.created_at,
            links=links,
        )


class NotificationChanges(Body):
    """What to change of a notification."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"read": True}]})

    read: bool = Field(description="False: as if it had not been read.")


class ReadAllView(BaseModel):
    """What came of reading all notifications."""

    read: int = Field(description="How many had not been read.")

"""The audit trail of an account."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from little_monster.db.models.audit_events import AuditEvent


class AuditEventView(BaseModel):
    """What happened to an account."""

    id: UUID
    kind: str = Field(examples=["login"])
    by_owner: bool = Field(description="Whether the owner of the account did it, as far as could be proved.")
    address_prefix: str | None = Field(
        description="The network that it came from, never the whole address.", examples=["192.0.2.0/24"]
    )
    details: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, event: AuditEvent) -> "AuditEventView":
        """Show a row."""
        return cls(
            id=event.id,
            kind=event.kind,
            by_owner=event.actor_id is not None and event.actor_id == event.user_id,
            address_prefix=event.address_prefix,
            details=event.details,
            created_at=event.created_at,
        )

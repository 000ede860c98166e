"""Where a user is logged in."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from little_monster.db.models.sessions import LoginSession
from little_monster.platform.http.links import Links, link


class LoginSessionView(BaseModel):
    """One log-in that can still be refreshed."""

    id: UUID
    user_agent: str | None = Field(description="What the client called itself when it logged in.")
    address_prefix: str | None = Field(
        description="The network that it logged in from, never the whole address.",
        examples=["192.0.2.0/24"],
    )
    current: bool = Field(description="Whether it is the session of this request.")
    created_at: datetime
    last_used_at: datetime = Field(description="When it was last refreshed.")
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, session: LoginSession, current_id: UUID | None) -> "LoginSessionView":
        """Show a row."""
        return cls(
            id=session.id,
            user_agent=session.user_agent,
            address_prefix=session.address_prefix,
            current=session.id == current_id,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            # It is only listed and ended.
            links={"revoke": link("auth", "sessions", session.id)},
        )

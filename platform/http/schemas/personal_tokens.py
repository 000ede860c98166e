"""Personal access tokens."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from little_monster.db.models.personal_access_tokens import PersonalAccessToken
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body, Name

Scope = Literal["read", "write"]


class NewPersonalToken(Body):
    """What a token is to be good for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "backup script", "scopes": ["read"], "expires_in_days": 90}]}
    )

    name: Name = Field(examples=["backup script"])
    scopes: set[Scope] = Field(
        min_length=1, description="`read` for GET, `write` for everything else.", examples=[["read"]]
    )
    expires_in_days: int | None = Field(
        90, ge=1, le=365, description="Days that it lives; null: until it is revoked."
    )


class PersonalTokenView(BaseModel):
    """A token, without the token itself."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute; null: never.")
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, token: PersonalAccessToken) -> "PersonalTokenView":
        """Show a row."""
        return cls(
            id=token.id,
            name=token.name,
            scopes=token.scopes,
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
            # It is only listed and revoked.
            links={"revoke": link("auth", "tokens", token.id)},
        )


class MadePersonalToken(BaseModel):
    """A new token."""

    token: str = Field(description="Shown this once. Send it as `Authorization: Bearer lmp_...`.")
    details: PersonalTokenView

"""Accounts at other issuers of tokens."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from little_monster.db.models.external_identities import ExternalIdentity
from little_monster.platform.foreign_tokens import MAX_TOKEN_CHARS
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body, Password


class NewIdentity(Body):
    """What is to be linked."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl"}]}
    )

    token: Password = Field(
        min_length=1, max_length=MAX_TOKEN_CHARS, description="A valid token of an issuer that is accepted."
    )


class IdentityView(BaseModel):
    """An account at another issuer, whose tokens are good here."""

    id: UUID
    issuer: str = Field(examples=["https://accounts.example.com"])
    subject: str = Field(description="What the issuer calls the user.")
    email: str | None = Field(description="What the issuer said when it was linked.")
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the hour; null: never.")
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, identity: ExternalIdentity) -> "IdentityView":
        """Show a row."""
        return cls(
            id=identity.id,
            issuer=identity.issuer,
            subject=identity.subject,
            email=identity.email,
            created_at=identity.created_at,
            last_used_at=identity.last_used_at,
            links={"self": link("auth", "identities", identity.id)},
        )

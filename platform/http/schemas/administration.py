"""Accounts, as admins see them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from little_monster.db.repositories.accounts import ListedUser
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.texts import Body

Role = Literal["student", "moderator", "admin"]


class RoleChange(Body):
    """The role to give."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "moderator"}]})

    role: Role


class ListedUserView(BaseModel):
    """Somebody's account, without its address and its things."""

    id: UUID
    display_name: str
    role: Role
    created_at: datetime
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, user: ListedUser) -> "ListedUserView":
        """Show a row."""
        return cls(
            id=user.id,
            display_name=user.display_name,
            role=user.role.value,
            created_at=user.created_at,
            links={"self": link("admin", "users", user.id)},
        )

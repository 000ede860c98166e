"""Whether the service is alive and ready."""

from typing import Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class PartView(BaseModel):
    """One part that answers need."""

    ok: bool
    ms: float = Field(description="Milliseconds until it answered.")
    error: str | None = None


class Readiness(BaseModel):
    """All parts, by name."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, PartView] = Field(
        description="By name: database, redis, storage, index, embedding, moderation, `chat:{model}`."
    )

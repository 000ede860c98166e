"""Our own application under plain uvicorn, without Ray Serve: says which part of the time is Serve's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI

from little_monster.platform.http.app import create_app
from little_monster.platform.logs import setup_logs
from little_monster.platform.resources import Resources, open_resources
from little_monster.platform.settings import Settings, load_settings

# Reading a row asks no model.
_ABSENT = cast(Any, None)


@asynccontextmanager
async def resources_of(settings: Settings) -> AsyncIterator[Resources]:
    """Open what there is without models."""
    async with open_resources(
        settings,
        chat_models={},
        embedder=_ABSENT,
        retriever=_ABSENT,
        moderator=_ABSENT,
        index=_ABSENT,
    ) as resources:
        yield resources


def create() -> FastAPI:
    """Return the application."""
    setup_logs(load_settings().telemetry)
    return create_app(lambda: resources_of(load_settings()))

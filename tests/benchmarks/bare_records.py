"""What lists of records cost at least: FastAPI and asyncpg, which run the SQL of our requests, and nothing of
ours."""

import os
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel

READY = "/ready"


class VideoItem(BaseModel):
    """The fields that our API shows, as in the other models here."""

    id: UUID
    title: str
    topic: str
    subject: str
    difficulty: str
    status: str
    created_by: UUID
    script_summary: str | None
    key_points: list[str]
    timestamps: list[int]
    video_url: str | None
    thumbnail_url: str | None
    duration: int | None
    rating_avg: float
    rating_count: int
    view_count: int
    comment_count: int
    tags: list[str]
    created_at: datetime
    updated_at: datetime


class CommentItem(BaseModel):
    id: UUID
    video_id: UUID
    user_id: UUID
    text: str
    moderation_status: str
    moderation_reason: str | None
    is_hidden: bool
    created_at: datetime
    updated_at: datetime


class EventItem(BaseModel):
    id: UUID
    title: str
    description: str
    location: str
    subject: str | None
    type: str
    start_date: datetime
    end_date: datetime
    time_zone: str
    all_day: bool
    is_completed: bool
    recurrence: str | None
    exdates: list[datetime]
    reminder_minutes: list[int]
    uid: str
    sequence: int
    created_at: datetime
    updated_at: datetime


class ConversationItem(BaseModel):
    id: UUID
    title: str
    context_type: str
    message_count: int
    last_message_at: datetime
    created_at: datetime
    updated_at: datetime


MODELS: dict[str, type[BaseModel]] = {
    "feed": VideoItem,
    "later feed": VideoItem,
    "search": VideoItem,
    "video": VideoItem,
    "comments": CommentItem,
    "month": EventItem,
    "conversations": ConversationItem,
}
"""What the last statement of each request returns."""


def path_of(name: str) -> str:
    """Return the path of what stands for the request `name`."""
    return f"/{name.replace(' ', '-')}"


def create() -> FastAPI:
    """Return the application; BENCHMARK_STATEMENTS is a file with the statements of each request."""
    requests = pickle.loads(Path(os.environ["BENCHMARK_STATEMENTS"]).read_bytes())
    app = FastAPI(lifespan=_lifespan)
    app.get(READY)(_ready)
    for name, statements in requests.items():
        model: Any = MODELS[name]
        app.get(path_of(name), response_model=list[model])(_endpoint(app, statements, model))
    return app


def _endpoint(
    app: FastAPI, statements: list[tuple[str, tuple[Any, ...] | None]], model: type[BaseModel]
) -> Callable[[], Any]:
    async def read() -> Any:
        rows: list[Any] = []
        async with app.state.pool.acquire() as connection:
            for sql, values in statements:
                if values is None:
                    await connection.execute(sql)
                else:
                    rows = await connection.fetch(sql, *values)
        return [model(**row) for row in rows]

    return read


async def _ready() -> str:
    return "ready"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    url, settings = os.environ["LM_DATABASE__URL"], {"jit": "off"}
    pool = asyncpg.create_pool(url, min_size=10, max_size=10, reset=_keep, server_settings=settings)
    async with pool as app.state.pool:
        yield


async def _keep(_connection: Any) -> None:
    """Spare asyncpg's reset, a round trip that ours does not make either."""

"""What a GET of one row costs at least: FastAPI and asyncpg, with nothing of ours."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel

TRANSACTION, STATEMENT = "/transaction", "/statement"
"""As ours does it (BEGIN with SET LOCAL, SELECT, COMMIT), and the SELECT alone on a connection that is always
the same user's."""

_QUERY = """
    SELECT id, email, password_hash, display_name, avatar_color, subjects, preferences::text, role::text,
           created_at, updated_at, last_active_at, email_verified_at
    FROM users WHERE id = $1
"""


class User(BaseModel):
    """The fields that our API shows."""

    id: UUID
    email: str
    display_name: str
    avatar_color: str | None
    subjects: list[str]
    preferences: str
    role: str
    created_at: datetime
    last_active_at: datetime | None
    email_verified_at: datetime | None


def create() -> FastAPI:
    """Return the application; BENCHMARK_USER says whose row it reads."""
    user = UUID(os.environ["BENCHMARK_USER"])
    app = FastAPI(lifespan=_lifespan)

    @app.get(TRANSACTION)
    async def read_in_transaction() -> User:
        async with app.state.pool.acquire() as connection:
            await connection.execute(f"BEGIN; SET LOCAL app.user_id = '{user}'")
            row = await connection.fetchrow(_QUERY, user)
            await connection.execute("COMMIT")
        return User(**row)

    @app.get(STATEMENT)
    async def read_by_statement() -> User:
        async with app.state.pool_of_user.acquire() as connection:
            return User(**await connection.fetchrow(_QUERY, user))

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    url, user = os.environ["LM_DATABASE__URL"], os.environ["BENCHMARK_USER"]
    options: dict[str, Any] = {"min_size": 10, "max_size": 10, "reset": _keep}
    async with (
        asyncpg.create_pool(url, **options) as app.state.pool,
        asyncpg.create_pool(url, server_settings={"app.user_id": user}, **options) as app.state.pool_of_user,
    ):
        yield


async def _keep(_connection: Any) -> None:
    """Spare asyncpg's reset, a round trip that ours does not make either."""

"""The application with every outside part away: what it answers without any service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import SecretStr

from little_monster.platform.http.app import create_app
from little_monster.platform.resources import Resources, open_resources
from little_monster.platform.security import Principal
from little_monster.platform.settings import Settings

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("away")
    return Settings(
        _env_file=None,
        environment="test",
        data_dir=folder,
        database={"url": SecretStr(f"postgresql://nobody@/nothing?host={folder}")},
        redis={"url": SecretStr(f"unix://{folder}/no.sock")},
        auth={"secret": SecretStr(SECRET)},
        api={"cors_origins": ["https://app.example.com"], "max_body_bytes": 2048},
        telemetry={"trace_ratio": 1.0},
    )


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    away: Any = SimpleNamespace()

    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        async with open_resources(
            settings, chat_models={}, embedder=away, retriever=away, moderator=away, index=away
        ) as opened:
            yield opened

    app = create_app(resources)

    @app.get("/api/v1/test/broken", include_in_schema=False)
    async def broken() -> None:
        raise RuntimeError("secret detail about ada@example.com")

    @app.post("/api/v1/test/streamed", include_in_schema=False)
    async def streamed(request: Request) -> None:
        async for _ in request.stream():
            pass

    @app.get("/api/v1/test/page", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse("<script>alert(1)</script>")

    @app.get("/api/v1/test/kept", include_in_schema=False)
    async def kept() -> JSONResponse:
        return JSONResponse({}, headers={"Cache-Control": "max-age=60"})

    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def bearer(app: FastAPI) -> dict[str, str]:
    token = app.state.resources.tokens.issue(Principal(uuid4(), "student"))
    return {"Authorization": f"Bearer {token}"}

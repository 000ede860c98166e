"""The HTTP application: routes, middlewares and error handlers around the resources that its lifespan
opens."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from little_monster.platform.errors import (
    Forbidden,
    InvalidInput,
    ProblemError,
    RateLimited,
    TooLarge,
    Unavailable,
)
from little_monster.platform.http.compression import CompressionMiddleware
from little_monster.platform.http.dependencies import limit_requests
from little_monster.platform.http.exception_handlers import (
    add_exception_handlers,
    openai_responses,
    problem_responses,
)
from little_monster.platform.http.head import HeadMiddleware
from little_monster.platform.http.links import API
from little_monster.platform.http.list_tags import ListTagMiddleware
from little_monster.platform.http.middlewares import (
    BodyLimitMiddleware,
    LateCORSMiddleware,
    LateProxyMiddleware,
    ObserveMiddleware,
)
from little_monster.platform.http.openapi import make_openapi
from little_monster.platform.http.routes import (
    administration,
    audit,
    auth,
    chat,
    comments,
    docs,
    document_files,
    documents,
    email_verification,
    exports,
    external_identities,
    health,
    jobs,
    keys,
    moderation,
    notifications,
    openai,
    passwords,
    personal_tokens,
    planner,
    ratings,
    second_factor,
    sessions,
    users,
    vector_index,
    videos,
)
from little_monster.platform.resources import Resources
from little_monster.platform.services.chat.runs import end_lost_runs_forever
from little_monster.platform.services.views import flush_forever, flush_last

ResourcesFactory = Callable[[], AbstractAsyncContextManager[Resources]]

_PRODUCT_ROUTERS: tuple[APIRouter, ...] = (
    auth.router,
    email_verification.router,
    passwords.router,
    sessions.router,
    personal_tokens.router,
    second_factor.router,
    external_identities.router,
    audit.router,
    users.router,
    exports.router,
    documents.router,
    document_files.router,
    chat.router,
    jobs.router,
    videos.router,
    comments.router,
    moderation.router,
    ratings.router,
    planner.router,
    notifications.router,
    administration.router,
    vector_index.router,
)
# From the inside out.
_MIDDLEWARES: tuple[Any, ...] = (
    BodyLimitMiddleware,
    ListTagMiddleware,
    CompressionMiddleware,
    HeadMiddleware,
    ObserveMiddleware,
    LateCORSMiddleware,
    LateProxyMiddleware,
)
# What any operation may answer.
_COMMON: tuple[type[ProblemError], ...] = (
    Forbidden,
    InvalidInput,
    RateLimited,
    TooLarge,
    Unavailable,
    ProblemError,
)


def create_app(resources: ResourcesFactory) -> FastAPI:
    """Build the application. Nothing is opened before its lifespan begins.

    Args:
        resources: opens what the services work with; entered once by the lifespan, left at its end.
    """
    app = FastAPI(
        title="Little Monster",
        version=_version(),
        lifespan=_lifespan(resources),
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    _add_routes(app)
    add_exception_handlers(app)
    for middleware in _MIDDLEWARES:
        app.add_middleware(middleware)
    app.openapi = lambda: make_openapi(app)  # type: ignore[method-assign]
    return app


def _lifespan(resources: ResourcesFactory) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with resources() as opened:
            await opened.passwords.warm_up()
            app.state.resources = opened
            _settle_memory()
            try:
                async with (
                    _in_background(flush_forever(opened)),
                    _in_background(end_lost_runs_forever(opened)),
                ):
                    yield
            finally:
                await flush_last(opened)

    return lifespan


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work that never ends beside the requests, and stop it with them."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _settle_memory() -> None:
    """Spare the garbage collector what is loaded now and stays, and let it run once in some requests instead
    of in each: it took a tenth of a short one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _add_routes(app: FastAPI) -> None:
    limited: Any = [Depends(limit_requests)]
    for router in _PRODUCT_ROUTERS:
        app.include_router(router, prefix=API, dependencies=limited, responses=problem_responses(*_COMMON))
    app.include_router(
        openai.router, prefix="/v1", dependencies=limited, responses=openai_responses(*_COMMON)
    )
    app.include_router(keys.router, dependencies=limited, responses=problem_responses(*_COMMON))
    app.include_router(health.router)
    app.include_router(docs.router)


def _operation_id(route: APIRoute) -> str:
    """Name an operation by its function, so that generated clients have methods with good names."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def _version() -> str:
    try:
        return version("little-monster")
    except PackageNotFoundError:
        return "0.0.0"

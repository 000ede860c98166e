"""The HTTP application: routes, middlewares and error handlers around the resources that its lifespan
opens."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from little_monster.platform.errors import InvalidInput, ProblemError, RateLimited, TooLarge, Unavailable
from little_monster.platform.http.dependencies import limit_requests
from little_monster.platform.http.exception_handlers import (
    add_exception_handlers,
    openai_responses,
    problem_responses,
)
from little_monster.platform.http.links import API
from little_monster.platform.http.middlewares import (
    BodyLimitMiddleware,
    LateCORSMiddleware,
    ObserveMiddleware,
)
from little_monster.platform.http.openapi import make_openapi
from little_monster.platform.http.routes import (
    auth,
    chat,
    documents,
    health,
    jobs,
    notifications,
    openai,
    planner,
    users,
)
from little_monster.platform.resources import Resources

ResourcesFactory = Callable[[], AbstractAsyncContextManager[Resources]]

_PRODUCT_ROUTERS: tuple[APIRouter, ...] = (
    auth.router,
    users.router,
    documents.router,
    chat.router,
    jobs.router,
    planner.router,
    notifications.router,
)
# What any operation may answer.
_COMMON: tuple[type[ProblemError], ...] = (
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
    )
    _add_routes(app)
    add_exception_handlers(app)
    # The last one added is the outermost.
    for middleware in (BodyLimitMiddleware, ObserveMiddleware, LateCORSMiddleware):
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
            yield

    return lifespan


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
    app.include_router(health.router)


def _operation_id(route: APIRoute) -> str:
    """Name an operation by its function, so that generated clients have methods with good names."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def _version() -> str:
    try:
        return version("little-monster")
    except PackageNotFoundError:
        return "0.0.0"

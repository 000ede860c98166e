"""What a load balancer, an operator and Prometheus ask. No token is needed, and nothing of a user is said."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from little_monster.platform.http.dependencies import ResourcesDep
from little_monster.platform.http.schemas.health import Alive, PartView, Readiness
from little_monster.platform.services.health import check_parts

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Say whether the process answers")
async def livez() -> Alive:
    """Answer, whatever the state of the parts: a restart would not help them."""
    return Alive()


@router.get(
    "/readyz",
    summary="Say whether every part answers",
    responses={503: {"model": Readiness, "description": "A part does not answer"}},
)
async def readyz(response: Response, resources: ResourcesDep) -> Readiness:
    """Ask all parts at once, 5 seconds at most."""
    parts = await check_parts(resources)
    ready = all(part.ok for part in parts.values())
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    views = {name: PartView(ok=part.ok, ms=part.ms, error=part.error) for name, part in parts.items()}
    return Readiness(status="ready" if ready else "not_ready", parts=views)


@router.get(
    "/metrics",
    summary="Metrics of this replica for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}},
)
async def metrics() -> Response:
    """Return the metrics of the replica that answers."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

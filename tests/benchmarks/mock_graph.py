"""The product's own ingress before mock engines: one behind a deployment handle, one behind an endpoint."""

from collections.abc import AsyncGenerator
from typing import Any

from ray import serve
from ray.serve.deployment import Application

from little_monster.deployments.ingress import build_ingress
from little_monster.deployments.options import OpenAIModel
from tests.benchmarks.mock_frames import frames

DEPLOYMENT, ENDPOINT = "mock-deployment", "mock-endpoint"
ROUTE = "/mock"


class MockChat:
    """Has the methods that `RemoteChatModel` calls of `llm.ChatModel`."""

    async def ready(self) -> None:
        """Answer."""

    async def generate(self, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """Yield the frames."""
        async for frame in frames():
            yield frame


def build(args: dict[str, Any]) -> Application:
    """Bind the ingress; nothing here embeds, retrieves or moderates, so the mock stands for these too."""
    mock = serve.deployment(name="mock")(MockChat).bind()
    endpoint = OpenAIModel(engine="openai", model_id=ENDPOINT, base_url=args["base_url"])
    return build_ingress(
        {DEPLOYMENT: mock, ENDPOINT: endpoint}, embedding=mock, retrieval=mock, moderation=mock
    )


def application(base_url: str) -> dict[str, Any]:
    """Return the entry of a Serve configuration for this graph."""
    options = {"max_ongoing_requests": 500, "num_replicas": 1, "ray_actor_options": {"num_cpus": 0.25}}
    return {
        "name": "mock",
        "route_prefix": ROUTE,
        "import_path": f"{__name__}:build",
        "args": {"base_url": base_url},
        "deployments": [{"name": name, **options} for name in ("ingress", "mock")],
    }

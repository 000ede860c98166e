"""The ingress deployment: the HTTP API, stateless, one event loop a replica."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from little_monster.deployments import handles
from little_monster.deployments.options import OpenAIModel
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.platform.engines.openai import OpenAIChatModel
from little_monster.platform.engines.protocols import ChatModel
from little_monster.platform.http.app import create_app
from little_monster.platform.resources import Resources, open_resources
from little_monster.platform.settings import load_settings
from little_monster.platform.telemetry import setup_telemetry

NAME = "ingress"


class Ingress:
    """Holds the handles of the graph and builds the application in the replica, so that nothing of it is
    pickled."""

    def __init__(
        self,
        models: Mapping[str, DeploymentHandle | OpenAIModel],
        embedding: DeploymentHandle,
        retrieval: DeploymentHandle,
        moderation: DeploymentHandle,
    ) -> None:
        self._models = models
        self._embedding, self._retrieval, self._moderation = embedding, retrieval, moderation

    def __serve_build_asgi_app__(self) -> FastAPI:
        settings = load_settings()
        setup_replica_logs(settings.telemetry)
        setup_telemetry(settings.telemetry, service=NAME)
        app = create_app(self._resources)
        app.add_middleware(_WithoutRequestId)
        return app

    @asynccontextmanager
    async def _resources(self) -> AsyncIterator[Resources]:
        async with open_resources(
            load_settings(),
            chat_models={name: _chat_model(model) for name, model in self._models.items()},
            embedder=handles.embedder(self._embedding),
            retriever=handles.retriever(self._retrieval),
            moderator=handles.moderator(self._moderation),
            index=handles.vector_index(self._retrieval),
        ) as resources:
            yield resources


class _WithoutRequestId:
    """Leaves the request id to Serve, which appends the same id to every answer, there or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["X-Request-ID"]
            await send(message)

        await self._app(scope, receive, send_without)


def _chat_model(model: DeploymentHandle | OpenAIModel) -> ChatModel:
    if isinstance(model, OpenAIModel):
        return OpenAIChatModel(
            base_url=model.base_url, api_key=model.api_key, model=model.upstream_model or model.model_id
        )
    return handles.chat_model(model)


def build_ingress(
    models: Mapping[str, Application | OpenAIModel],
    *,
    embedding: Application,
    retrieval: Application,
    moderation: Application,
) -> Application:
    """Bind the API to the rest of the graph."""
    return serve.deployment(name=NAME)(serve.ingress()(Ingress)).bind(
        models, embedding, retrieval, moderation
    )

"""The ingress deployment: the HTTP API, stateless, one event loop a replica."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from little_monster.deployments import handles
from little_monster.deployments.options import OpenAIModel
from little_monster.platform.engines.openai import OpenAIChatModel
from little_monster.platform.engines.protocols import ChatModel
from little_monster.platform.http.app import create_app
from little_monster.platform.logs import setup_logs
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
        setup_logs(settings.telemetry)
        setup_telemetry(settings.telemetry, service=NAME)
        return create_app(self._resources)

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

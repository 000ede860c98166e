"""The moderation deployment: texts to scores by category of harm."""

import asyncio

from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from little_monster.deployments import handles
from little_monster.deployments.options import ModerationOptions
from little_monster.deployments.replica_logs import setup_replica_logs
from little_monster.platform.engines.guard import GuardModerator
from little_monster.platform.engines.profanity import ProfanityClassifier
from little_monster.platform.engines.protocols import ModerationResult
from little_monster.platform.settings import load_settings

NAME = "moderation"


class Moderation:
    """The offline classifier."""

    def __init__(self, options: ModerationOptions) -> None:
        setup_replica_logs(load_settings().telemetry)
        self._classifier = ProfanityClassifier(options.threshold)

    async def ready(self) -> None:
        """Answer when the classifier is loaded."""

    async def classify(self, texts: list[str]) -> list[ModerationResult]:
        """Return one result a text."""
        return await asyncio.to_thread(self._classifier.classify, texts)


class GuardedModeration:
    """A guard model of this graph, asked as Llama Guard is."""

    def __init__(self, options: ModerationOptions, llm: DeploymentHandle) -> None:
        setup_replica_logs(load_settings().telemetry)
        self._guard = GuardModerator(handles.chat_model(llm), str(options.model))

    async def ready(self) -> None:
        """Answer when the replica is up."""

    async def classify(self, texts: list[str]) -> list[ModerationResult]:
        """Return one result a text."""
        return await self._guard.classify(texts)


def build_moderation(options: ModerationOptions, guard: Application | None) -> Application:
    """Bind the classifier, or the guard when one is given."""
    if guard is None:
        return serve.deployment(name=NAME)(Moderation).bind(options)
    return serve.deployment(name=NAME)(GuardedModeration).bind(options, guard)

"""The Serve application `little_monster.deployments.graph:build`.

    ingress ──┬── llm:<model id>     one a model that vLLM serves here
              ├── embedding
              ├── retrieval ── embedding
              └── moderation  (── llm:<model id> when a guard model is configured)

Exactly one hop lies between the ingress and the engine on the path of a token.
"""

from typing import Any

from ray.serve.deployment import Application

from little_monster.deployments.embedding import build_embedding
from little_monster.deployments.ingress import build_ingress
from little_monster.deployments.llm import build_llm
from little_monster.deployments.moderation import build_moderation
from little_monster.deployments.options import OpenAIModel, VllmModel, parse_graph_options
from little_monster.deployments.retrieval import build_retrieval


def build(args: dict[str, Any]) -> Application:
    """Validate `args` (`options.GraphOptions`) and bind the graph.

    Numbers of replicas, resources, queues and health checks stand under `deployments:` of the Serve
    configuration.

    Raises:
        ConfigurationError: an argument is wrong; nothing was bound.
    """
    options = parse_graph_options(args)
    models: dict[str, Application | OpenAIModel] = {
        model.model_id: _build_model(model) for model in options.chat_models()
    }
    embedding = build_embedding(options.embedding)
    guard = models.get(options.moderation.model or "") if options.moderation.engine == "guard" else None
    return build_ingress(
        models,
        embedding=embedding,
        retrieval=build_retrieval(embedding),
        moderation=build_moderation(options.moderation, guard),
    )


def _build_model(model: VllmModel | OpenAIModel) -> Application | OpenAIModel:
    if isinstance(model, OpenAIModel):
        return model
    return build_llm(model)

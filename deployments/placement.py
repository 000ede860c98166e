"""Where the replicas of a model run: Serve's options, read from Ray's `LLMConfig` document.

Ray derives the same ones (`LLMServer.get_deployment_options`), but only after an import of vLLM, which the
task that builds the graph would make for nothing; a test compares the two for every model file.
"""

from typing import Any

_HINT = 0.001
"""Amount of `accelerator_type:NAME` that a bundle asks for to be put on a node that has one."""


def serve_options(llm_config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a model's deployment.

    The first bundle also holds the replica itself; each of the others, if any, holds one worker of the
    engine.

    Args:
        llm_config: a document with `placement_group_config` (`bundle_per_worker` or `bundles`) and whatever
            it says in `deployment_config` and `runtime_env`.
    """
    options = dict(llm_config.get("deployment_config") or {})
    actor = dict(options.get("ray_actor_options") or {})
    first, *others = _bundles(llm_config)
    replica = {
        "CPU": actor.get("num_cpus", 1),
        "GPU": actor.get("num_gpus", 0),
        **actor.get("resources", {}),
        **({"memory": actor["memory"]} if "memory" in actor else {}),
    }
    merged = {name: first.get(name, 0) + replica.get(name, 0) for name in first | replica}
    runtime_env = {**(actor.get("runtime_env") or {}), **(llm_config.get("runtime_env") or {})}
    return {
        **options,
        "ray_actor_options": {**actor, "runtime_env": runtime_env},
        "placement_group_bundles": [merged, *others],
        "placement_group_strategy": llm_config["placement_group_config"].get("strategy", "PACK"),
    }


def _bundles(llm_config: dict[str, Any]) -> list[dict[str, float]]:
    """Return one bundle a worker of the engine."""
    placement, engine = llm_config["placement_group_config"], llm_config.get("engine_kwargs") or {}
    workers = engine.get("tensor_parallel_size", 1) * engine.get("pipeline_parallel_size", 1)
    bundles = placement.get("bundles") or [placement["bundle_per_worker"]] * workers
    accelerator = llm_config.get("accelerator_type")
    hint = {f"accelerator_type:{accelerator}": _HINT} if accelerator else {}
    return [{**hint, **bundle} for bundle in bundles]

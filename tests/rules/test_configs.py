"""The files under configs/ and cluster.yaml say what their readers understand."""

import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import ray
import ray.autoscaler
import yaml
from ray.serve.schema import ServeDeploySchema

from little_monster.deployments.autoscaling import QueueDepth
from little_monster.deployments.options import (
    OpenAIModel,
    VllmModel,
    parse_graph_options,
    parse_jobs_options,
    read_model,
)
from little_monster.deployments.placement import serve_options
from little_monster.platform.embedded.ray import read_profile
from little_monster.platform.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
MODELS = sorted(path.stem for path in (CONFIGS / "models").glob("*.yaml"))
SERVE = sorted(CONFIGS.glob("serve.*.yaml"))
FIVE = {"ingress", "embedding", "retrieval", "moderation"}


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def cluster() -> Any:
    return _read(ROOT / "cluster.yaml")


def test_the_cluster_fits_rays_own_schema(cluster: Any) -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)


def test_the_cluster_has_a_head_and_workers_that_scale(cluster: Any) -> None:
    nodes = cluster["available_node_types"]
    assert cluster["head_node_type"] in nodes
    workers = {name: node for name, node in nodes.items() if name != cluster["head_node_type"]}
    assert any(node["resources"].get("GPU") for node in workers.values())
    assert any(not node["resources"].get("GPU") for node in workers.values())
    assert all(node["min_workers"] < node["max_workers"] for node in workers.values())
    assert sum(node["max_workers"] for node in workers.values()) <= cluster["max_workers"]


def test_the_cluster_runs_our_version_of_ray(cluster: Any) -> None:
    assert all(
        f":{ray.__version__}-py311" in cluster["docker"][image] for image in ("head_image", "worker_image")
    )


@pytest.mark.parametrize("path", SERVE, ids=lambda path: path.name)
def test_a_serve_configuration_fits_serves_schema(path: Path) -> None:
    config = ServeDeploySchema.model_validate(_read(path))
    application, jobs = config.applications
    options = parse_graph_options(application.args)
    llms = {f"llm:{model.model_id}" for model in options.chat_models() if isinstance(model, VllmModel)}
    deployments = {deployment.name: deployment for deployment in application.deployments}
    assert set(deployments) == FIVE | llms
    assert parse_jobs_options(jobs.args).concurrency >= 2
    (worker,) = jobs.deployments
    policy = worker.model_dump(exclude_unset=True)["autoscaling_config"]["policy"]
    assert QueueDepth(**policy["policy_kwargs"])
    module, _, name = policy["policy_function"].partition(":")
    assert (module, name) == (QueueDepth.__module__, QueueDepth.__name__)
    for deployment in deployments.values():
        values = deployment.model_dump(exclude_unset=True)
        # Each has its own limits, health checks and way to leave.
        assert {"max_ongoing_requests", "health_check_period_s", "graceful_shutdown_timeout_s"} <= set(values)
        assert "autoscaling_config" in values or values["num_replicas"] == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_model_file_is_valid(name: str) -> None:
    model = read_model(name)
    assert model.model_id
    if isinstance(model, VllmModel):
        from ray.serve.llm import LLMConfig

        config = LLMConfig(**model.llm_config)
        assert config.model_id == model.model_id


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"engine_kwargs": {"pipeline_parallel_size": 3}},
        {"ray_actor_options": {"memory": 7, "num_cpus": 2}},
    ],
    ids=["as it is", "three stages", "with memory"],
)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_placed_as_ray_would_place_it(
    name: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model(name)
    if not isinstance(model, VllmModel):
        return
    from ray.serve.llm import LLMConfig, LLMServer

    document = deepcopy(model.llm_config)
    document["engine_kwargs"].update(change.get("engine_kwargs", {}))
    document["deployment_config"].setdefault("ray_actor_options", {}).update(
        change.get("ray_actor_options", {})
    )
    # The environment of the process that asks is added, for which a cluster would be started.
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(runtime_env={}))
    theirs = LLMServer.get_deployment_options(LLMConfig(**deepcopy(document)))
    # Imports `ray.llm` in the replica before anything else; ours is imported there by `vllm_server`.
    theirs["ray_actor_options"]["runtime_env"].pop("worker_process_setup_hook")
    assert serve_options(document) == theirs


def test_the_models_of_the_issue_are_there() -> None:
    models = {name: read_model(name) for name in MODELS}
    assert {"gpt-oss-20b", "gpt-oss-120b"} <= set(models)
    assert any("llama" in name for name in models)
    assert any("mistral" in name for name in models)
    for name in ("gpt-oss-20b", "gpt-oss-120b"):
        engine = models[name].llm_config["engine_kwargs"]
        assert engine["max_model_len"] == 131072
        assert engine["tool_call_parser"]
        assert engine["reasoning_parser"]
    assert any(isinstance(model, OpenAIModel) for model in models.values())


def test_several_models_stand_side_by_side() -> None:
    options = parse_graph_options({"models": ["gpt-oss-20b", "ollama"]})
    assert [model.engine for model in options.chat_models()] == ["vllm", "openai"]


@pytest.mark.parametrize(
    ("args", "names"),
    [
        ({"models": []}, "models"),
        ({"models": ["no-such-model"]}, "no-such-model"),
        ({"models": ["ollama", "ollama"]}, "llama3.2"),
        ({"models": ["ollama"], "embeding": {}}, "embeding"),
        ({"models": ["ollama"], "moderation": {"engine": "guard", "model": "x"}}, "moderation.model"),
        ({"models": ["ollama"], "embedding": {"engine": "openai"}}, "embedding"),
    ],
)
def test_wrong_arguments_are_one_line(args: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_graph_options(args).chat_models()
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_profile_takes_http_through_haproxy() -> None:
    profile = read_profile()
    assert profile["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert profile["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert int(profile["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) == 3600

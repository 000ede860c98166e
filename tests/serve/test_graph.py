"""The graph itself: who loads what, what a changed number touches, that a left stream ends there."""

import json

import httpx
import yaml

from tests.serve.api import eventually
from tests.serve.conftest import RunningStack

CONFIG = "configs/serve.laptop.yaml"
LONG = {
    "model": "smollm2-135m-instruct",
    "messages": [{"role": "user", "content": "Tell me a very long story."}],
    "max_tokens": 2500,
    "ignore_eos": True,
    "stream": True,
}


def test_the_ingress_loads_no_model_code(stack: RunningStack) -> None:
    """vLLM and PyTorch would cost each replica hundreds of megabytes."""
    (ingress,) = stack.replica("ingress")
    mapped = {mapping.path for mapping in ingress.memory_maps()}
    assert not [path for path in mapped if "/torch/" in path or "/vllm/" in path]


def test_every_part_is_ready_and_named(client: httpx.Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    parts = json.dumps(answer.json())
    for part in ("database", "redis", "storage", "index", "embedding", "moderation", "smollm2-135m-instruct"):
        assert part in parts


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    assert "# TYPE lm_" in text


def test_a_left_stream_ends_in_the_engine(stack: RunningStack, client: httpx.Client) -> None:
    """When the client goes, the engine must not go on making tokens for nobody."""
    with client.stream("POST", "/v1/chat/completions", json=LONG) as response:
        lines = response.iter_lines()
        for _ in range(6):
            next(lines)
        assert eventually(lambda: _running_requests(stack) == 1, 20), "the engine's metrics show no request"
    assert eventually(lambda: _running_requests(stack) == 0, 20), "the engine still runs it"


def test_a_changed_number_restarts_no_replica(stack: RunningStack, tmp_path) -> None:
    names = ("ingress", "llm", "embedding", "retrieval", "moderation")
    before = {name: [process.pid for process in stack.replica(name)] for name in names}
    config = yaml.safe_load(open(CONFIG).read())  # noqa: PTH123, SIM115
    deployments = config["applications"][0]["deployments"]
    next(item for item in deployments if item["name"] == "ingress")["max_ongoing_requests"] = 400
    changed = tmp_path / "serve.yaml"
    changed.write_text(yaml.safe_dump(config))
    done = stack.cli("deploy", str(changed))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: [process.pid for process in stack.replica(name)] for name in names} == before


def _running_requests(stack: RunningStack) -> float:
    """Ask the engine's own gauge, through Ray's metrics of this node."""
    discovery = max(
        stack.data.glob("ray/**/prom_metrics_service_discovery.json"), key=lambda path: path.stat().st_mtime
    )
    total = 0.0
    for target in json.loads(discovery.read_text())[0]["targets"]:
        total += sum(
            float(line.rsplit(" ", 1)[1])
            for line in _metrics_of(target)
            if line.startswith("ray_vllm_num_requests_running")
        )
    return total


def _metrics_of(target: str) -> list[str]:
    try:
        return httpx.get(f"http://{target}/metrics").text.splitlines()
    except httpx.ConnectError:
        # Ray also lists a metrics endpoint of its autoscaler, which does not run without one.
        return []

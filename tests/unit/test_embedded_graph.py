"""Deploying the graph: the configuration, Serve's answers, its failures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from little_monster.platform.embedded.chat_model import NAME
from little_monster.platform.embedded.process import Waiter
from little_monster.platform.embedded.readiness import not_ready
from little_monster.platform.embedded.serve import (
    apply_graph,
    end_jobs,
    names_model,
    read_serve_config,
    wait_for_graph,
)
from little_monster.platform.errors import ConfigurationError, StartupError

TRACEBACK = """The deployment failed to start 3 times in a row. Error:
Traceback (most recent call last):
  File "graph.py", line 7, in __init__
RuntimeError: no such model: nowhere
"""


def dashboard(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://dashboard")


def application(status: str, *deployments: tuple[str, str, str], message: str = "") -> dict[str, Any]:
    details = {name: {"status": state, "message": text} for name, state, text in deployments}
    return {"applications": {"app": {"status": status, "message": message, "deployments": details}}}


def test_the_laptops_graph_listens_where_the_settings_say() -> None:
    config = read_serve_config(None, 9123)
    assert config["http_options"]["port"] == 9123
    assert config["applications"][0]["import_path"] == "little_monster.deployments.graph:build"
    assert names_model(config, NAME)


@pytest.mark.parametrize("text", ["applications: []", "- 1", "a: [", "{}"])
def test_another_file_is_no_serve_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(ConfigurationError):
        read_serve_config(tmp_path / "serve.yaml", 8000)


def test_a_missing_file_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"LM_RUNTIME__SERVE_CONFIG: no such file"):
        read_serve_config(tmp_path / "none.yaml", 8000)


def test_a_refused_configuration_shows_serves_reason() -> None:
    with (
        dashboard(
            lambda _: httpx.Response(400, text="Traceback\nValueError: port is not a number")
        ) as client,
        pytest.raises(StartupError, match="port is not a number"),
    ):
        apply_graph(client, {}, Path("logs"))


def test_waiting_shows_each_state_until_all_run() -> None:
    answers = iter(
        [
            httpx.Response(503),
            httpx.Response(200, json={"applications": {}}),
            httpx.Response(
                200, json=application("DEPLOYING", ("llm", "UPDATING", ""), ("ingress", "HEALTHY", ""))
            ),
            httpx.Response(
                200, json=application("RUNNING", ("llm", "HEALTHY", ""), ("ingress", "HEALTHY", ""))
            ),
        ]
    )
    notes: list[str] = []
    waiter = Waiter()
    waiter.pause = lambda seconds: None  # type: ignore[method-assign]
    with dashboard(lambda _: next(answers)) as client:
        wait_for_graph(client, waiter, notes.append, Path("logs"))
    assert notes == ["", "llm …  ingress ✓", "llm ✓  ingress ✓"]


def test_a_failed_deployment_is_named_with_the_line_that_says_why() -> None:
    failed = application("DEPLOY_FAILED", ("llm", "DEPLOY_FAILED", TRACEBACK), ("ingress", "UPDATING", ""))
    with (
        dashboard(lambda _: httpx.Response(200, json=failed)) as client,
        pytest.raises(StartupError) as raised,
    ):
        wait_for_graph(client, Waiter(), lambda _: None, Path("/data/logs/ray/serve"))
    assert raised.value.reason == "llm: RuntimeError: no such model: nowhere"
    assert "/data/logs/ray/serve" in raised.value.remedy


def test_what_is_not_ready_is_named() -> None:
    parts = {
        "database": {"ok": True, "ms": 1, "error": None},
        "index": {"ok": False, "ms": 2, "error": "gone"},
    }
    with dashboard(lambda _: httpx.Response(503, json={"status": "not_ready", "parts": parts})) as client:
        assert not_ready(client, "http://api/readyz") == "index: gone"
    with dashboard(lambda _: httpx.Response(200, json={})) as client:
        assert not_ready(client, "http://api/readyz") is None


def test_workers_are_ended_before_what_they_need(tmp_path: Path) -> None:
    config = read_serve_config(None, 8000)
    asked: list[tuple[str, list[str]]] = []
    answers = iter(["little-monster little-monster-jobs", "little-monster"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            asked.append(("PUT", [app["name"] for app in json.loads(request.content)["applications"]]))
            return httpx.Response(200)
        asked.append(("GET", []))
        return httpx.Response(200, json={"applications": {name: {} for name in next(answers).split()}})

    with dashboard(answer) as client:
        assert end_jobs(client, config, 5)
    assert asked == [("PUT", ["little-monster"]), ("GET", []), ("GET", [])]


def test_without_workers_nothing_is_asked() -> None:
    config = read_serve_config(None, 8000)
    config["applications"] = config["applications"][:1]
    with dashboard(lambda _: pytest.fail("nothing is to be asked")) as client:
        assert not end_jobs(client, config, 5)


def test_a_ray_that_is_gone_does_not_keep_the_stop(tmp_path: Path) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone")

    with dashboard(answer) as client:
        assert end_jobs(client, read_serve_config(None, 8000), 5)

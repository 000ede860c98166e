"""The graph, deployed declaratively by the dashboard: a changed number restarts only what it concerns."""

import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import yaml

from little_monster.platform.embedded.process import Waiter
from little_monster.platform.errors import ConfigurationError, StartupError

STAGE = "graph"
_PATH = "/api/serve/applications/"
_TIMEOUT_S = 900
_JOBS = "little_monster.deployments.jobs:build"
_RUNNING, _FAILED = "RUNNING", ("DEPLOY_FAILED", "UNHEALTHY")


def read_serve_config(path: Path | None, http_port: int) -> dict[str, Any]:
    """Return a Serve configuration with the HTTP port of the settings.

    Args:
        path: the file; None: `configs/serve.laptop.yaml`.
        http_port: where the ingress listens.

    Raises:
        ConfigurationError: the file is missing or is no Serve configuration.
    """
    path = path or Path(str(files("little_monster.configs"))) / "serve.laptop.yaml"
    if not path.is_file():
        raise ConfigurationError(f"LM_RUNTIME__SERVE_CONFIG: no such file: {path}")
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {error}".replace("\n", " ")) from None
    if not isinstance(config, dict) or not config.get("applications"):
        raise ConfigurationError(f"{path}: no Ray Serve configuration (`applications:` is missing)")
    config["http_options"] = {**(config.get("http_options") or {}), "port": http_port}
    return config


def without_jobs(config: dict[str, Any]) -> dict[str, Any]:
    """Return a Serve configuration without the applications that take jobs from the queue."""
    others = [app for app in config["applications"] if app.get("import_path") != _JOBS]
    return {**config, "applications": others}


def names_model(config: dict[str, Any], name: str) -> bool:
    """Say whether the graph of a Serve configuration names a chat model."""
    return any(name in str(app.get("args")) for app in config["applications"])


def apply_graph(dashboard: httpx.Client, config: dict[str, Any], logs: Path) -> None:
    """Ask Ray Serve for this graph; it is built in the background. An error points at the folder `logs`.

    Raises:
        StartupError: Serve refuses the configuration.
    """
    try:
        response = dashboard.put(_PATH, json=config, timeout=120)
    except httpx.HTTPError as error:
        raise StartupError(
            STAGE, f"Ray's dashboard does not answer: {error}", f"read the logs in {logs}"
        ) from None
    if response.is_error:
        reason = _summary(response.text)
        raise StartupError(
            STAGE, f"Ray Serve refused it: {reason}", f"correct the configuration, or read {logs}"
        )


def end_jobs(dashboard: httpx.Client, config: dict[str, Any], timeout_s: float) -> bool:
    """Have the workers of the queue end what they do, or give it back, and return when they are gone or the
    time is over; False when there are none.
    """
    kept = without_jobs(config)
    if kept == config:
        return False
    gone = {app["name"] for app in config["applications"]} - {app["name"] for app in kept["applications"]}
    until = time.monotonic() + timeout_s
    try:
        dashboard.put(_PATH, json=kept, timeout=timeout_s).raise_for_status()
        while time.monotonic() < until and gone & dashboard.get(_PATH).json()["applications"].keys():
            time.sleep(0.2)
    except (httpx.HTTPError, ValueError, KeyError):
        pass  # Ray is ending by itself: jobs that ran are taken again when their worker is missed.
    return True


class GraphStatus:
    """What Serve says of the graph at one moment."""

    def __init__(self, details: dict[str, Any]) -> None:
        self._applications: dict[str, Any] = details.get("applications", {})

    def running(self) -> bool:
        """Say whether all applications run."""
        return bool(self._applications) and all(
            app["status"] == _RUNNING for app in self._applications.values()
        )

    def failure(self) -> str | None:
        """Return why the graph failed, in one line; None when it has not."""
        for app in self._applications.values():
            if app["status"] in _FAILED:
                return self._reason(app)
        return None

    def _reason(self, app: dict[str, Any]) -> str:
        unhealthy = [
            f"{name}: {_summary(deployment.get('message', ''))}"
            for name, deployment in app.get("deployments", {}).items()
            if deployment["status"] in _FAILED
        ]
        return "; ".join(unhealthy) or _summary(app.get("message", ""))

    def line(self) -> str:
        """Return each deployment with a mark: ✓ runs, ✗ failed, … starts."""
        marks = {"HEALTHY": "✓", "UNHEALTHY": "✗", "DEPLOY_FAILED": "✗"}
        return "  ".join(
            f"{name} {marks.get(deployment['status'], '…')}"
            for app in self._applications.values()
            for name, deployment in app.get("deployments", {}).items()
        )


def read_status(dashboard: httpx.Client) -> GraphStatus | None:
    """Return the graph's status; None when the dashboard is busy."""
    try:
        response = dashboard.get(_PATH)
        return GraphStatus(response.json()) if response.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


def wait_for_graph(dashboard: httpx.Client, waiter: Waiter, note: Callable[[str], None], logs: Path) -> None:
    """Return when every deployment runs, telling `note` each state.

    Args:
        dashboard: client of the dashboard.
        waiter: knows when the operator wants to stop.
        note: takes one line.
        logs: the folder that an error points at.

    Raises:
        StartupError: a deployment failed; the reason is Serve's own message.
    """
    for _ in range(_TIMEOUT_S * 2):
        status = read_status(dashboard)
        if status is not None:
            note(status.line())
            if status.running():
                return
            if reason := status.failure():
                raise StartupError(STAGE, reason, f"read the deployment's log in {logs}")
        waiter.pause(0.5)
    raise StartupError(STAGE, f"not running after {_TIMEOUT_S} s", f"read the logs in {logs}")


def _summary(message: str) -> str:
    """Return the one line of a message, often a traceback, that names the error."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    alerts = [line for line in lines if "[ALERT]" in line]  # HAProxy's; the first one says what is wrong.
    if alerts:
        return alerts[0][:500]
    errors = [line for line in lines if "Error" in line.split(":")[0] or "Exception" in line.split(":")[0]]
    return (errors or lines or ["no message"])[-1][:500]

"""The stack that is measured: `little-monster up` on a data folder and ports of its own."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil

from little_monster.platform.embedded.chat_model import NAME
from little_monster.platform.embedded.instance import marked_processes, read_instance
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.ports import Ports, is_free
from little_monster.platform.embedded.process import Waiter
from little_monster.platform.embedded.serve import apply_graph, read_serve_config, wait_for_graph
from little_monster.platform.embedded.stack import Stack
from little_monster.platform.settings import ApiSettings, RuntimeSettings, Settings
from tests.benchmarks.children import REPOSITORY, plain_environment

MODEL = NAME
_PASSWORD = "benchmark-password"
# Limits that protect from what a benchmark does.
_NO_LIMIT = 1_000_000_000


class BenchmarkStack:
    """Started when it is first needed; `down` stops it.

    Args:
        folder: an empty one with a short path, as sockets go below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = DataFolder.at(folder / "d")
        self._runtime = RuntimeSettings(port_offset=_free_offset())
        self.ports = Ports.of(self._runtime)
        self.email = f"{uuid.uuid4().hex[:12]}@example.com"

    @property
    def url(self) -> str:
        """Of the HTTP API."""
        return f"http://127.0.0.1:{self.ports.http}"

    @property
    def running(self) -> bool:
        instance = read_instance(self.data)
        return instance is not None and instance.state == "ready"

    def ensure_up(self) -> None:
        """Start it unless it runs, with a chat model that was prepared before where there is one."""
        if not self.running:
            self._borrow_model()
            self.up()

    def up(self) -> dict[str, Any]:
        """Start it; return what `up` noted of its stages.

        Raises:
            RuntimeError: it did not start; the message is what `up` printed.
        """
        self._little_monster("up", "--detach")
        startup: dict[str, Any] = json.loads((self.data.run / "startup.json").read_text())
        return startup

    def down(self) -> None:
        """Stop it, also when its state file has gone."""
        if read_instance(self.data) is not None:
            self._little_monster("down")
        for process in psutil.process_iter():
            if _supervises(process, self.data.root):
                process.terminate()
                process.wait(60)

    def processes(self) -> list[psutil.Process]:
        """Return all its processes."""
        instance = read_instance(self.data)
        if instance is None or (supervisor := instance.supervisor()) is None:
            return []
        return [supervisor, *marked_processes(instance.id)]

    @cached_property
    def user_id(self) -> str:
        """Of the benchmark's account, which this makes."""
        body = {"email": self.email, "password": _PASSWORD, "display_name": "Benchmark"}
        return str(self._enter("register", body)["user"]["id"])

    def headers(self) -> dict[str, str]:
        """Return headers with a fresh access token: one lives 15 minutes."""
        assert self.user_id
        session = self._enter("login", {"email": self.email, "password": _PASSWORD})
        return {"Authorization": f"Bearer {session['tokens']['access_token']}"}

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that uses the same services."""
        return {**self._stack.environment(), "PYTHONPATH": str(REPOSITORY)}

    def deploy_beside(self, application: Mapping[str, Any]) -> None:
        """Deploy one more Serve application; the replicas of the product go on as they are."""
        config = read_serve_config(None, self.ports.http)
        config["applications"].append(dict(application))
        logs = self._stack.ray.serve_logs
        with self._stack.ray.dashboard() as dashboard:
            apply_graph(dashboard, config, logs)
            wait_for_graph(dashboard, Waiter(), lambda _line: None, logs)

    @cached_property
    def _stack(self) -> Stack:
        # As init values they win over the environment that this process has.
        api = ApiSettings(
            requests_per_minute=_NO_LIMIT,
            login_attempts_per_minute=_NO_LIMIT,
            login_attempts_per_account_per_minute=_NO_LIMIT,
        )
        return Stack.of(Settings(_env_file=None, data_dir=self.data.root, runtime=self._runtime, api=api))

    def _enter(self, how: str, body: dict[str, str]) -> dict[str, Any]:
        response = httpx.post(f"{self.url}/api/v1/auth/{how}", json=body, timeout=30).raise_for_status()
        session: dict[str, Any] = response.json()
        return session

    def _borrow_model(self) -> None:
        prepared, ours = REPOSITORY / "var" / "models" / MODEL, self.data.models / MODEL
        if (prepared / "config.json").exists() and not ours.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(prepared)

    def _little_monster(self, *arguments: str) -> None:
        environment = plain_environment(
            LM_DATA_DIR=str(self.data.root),
            LM_RUNTIME__PORT_OFFSET=str(self.ports.offset),
            LM_API__REQUESTS_PER_MINUTE=str(_NO_LIMIT),
            LM_API__LOGIN_ATTEMPTS_PER_MINUTE=str(_NO_LIMIT),
            LM_API__LOGIN_ATTEMPTS_PER_ACCOUNT_PER_MINUTE=str(_NO_LIMIT),
        )
        # Another folder than the repository's, whose `.env` belongs to somebody else's stack.
        done = subprocess.run(
            [sys.executable, "-m", "little_monster.platform.cli.main", *arguments],
            cwd=self.folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        if done.returncode != 0:
            raise RuntimeError(f"little-monster {' '.join(arguments)}: {done.stdout}{done.stderr}")


def _supervises(process: psutil.Process, root: Path) -> bool:
    """Say whether this is the `up` of the data folder `root`."""
    try:
        command = process.cmdline()
        return "little_monster.platform.cli.main" in command and process.environ()["LM_DATA_DIR"] == str(root)
    except (psutil.Error, KeyError):
        return False


def _free_offset() -> int:
    """Return an offset at which all fixed ports of a stack are free; other ones may run on this machine."""
    first = 1000 + os.getpid() % 800
    for offset in range(first, 20_000, 1000):
        if all(map(is_free, Ports.of(RuntimeSettings(port_offset=offset)).named().values())):
            return offset
    raise RuntimeError("no free ports for a stack")

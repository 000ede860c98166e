"""The Ray head of one machine, as a child: its environment, its ports, its folder."""

import os
import shutil
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import httpx
from dotenv import dotenv_values

from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.ports import Ports, free_port
from little_monster.platform.embedded.process import Child, Waiter, spawn
from little_monster.platform.settings import RuntimeSettings

FOLDER_CHARS = 36
"""Longest folder for Ray: below it stands `session_<date>_<pid>/sockets/plasma_store`, a unix socket."""

_HAPROXY_CHARS = 26
"""Longest folder for HAProxy: below it stands `<56 digits of the node>/metrics.sock`, which may have 97."""
_SESSIONS_KEPT = 3


class Ray:
    """One head node that is the whole cluster."""

    def __init__(self, data: DataFolder, runtime: RuntimeSettings) -> None:
        self.ports = Ports.of(runtime)
        self._runtime = runtime
        self._temp = data.short("ray", FOLDER_CHARS)
        self._haproxy = data.short("haproxy", _HAPROXY_CHARS)
        self._log = data.logs / "ray.log"
        self._session_logs = data.logs / "ray"
        self._token_file = data.secrets / "ray-token"
        self._token = data.secret("ray-token")

    @property
    def address(self) -> str:
        """What a driver sets as RAY_ADDRESS."""
        return f"127.0.0.1:{self.ports.gcs}"

    @property
    def serve_logs(self) -> Path:
        """Folder with one log a replica."""
        return self._session_logs / "serve"

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.dashboard}"

    def dashboard(self, url: str | None = None) -> httpx.Client:
        """Return a client of the dashboard (at another address) that shows it the cluster's token."""
        return httpx.Client(
            base_url=url or self.dashboard_url, headers={"Authorization": f"Bearer {self._token}"}, timeout=30
        )

    def environment(self) -> dict[str, str]:
        """Return what every Ray process must find in its environment before it starts.

        The profile of `configs/environments/ray.env`, where the caller's own environment says nothing else;
        ports and sockets that two stacks on a machine must not share; and the token, without which the
        replicas' ports, which unpickle what they get, would run anybody's code.
        """
        haproxy = self._haproxy
        return {
            **{name: os.environ.get(name, value) for name, value in read_profile().items()},
            **self.ports.serve_environment(),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._token_file),
        }

    def start(self, environment: Mapping[str, str], waiter: Waiter) -> Child:
        """Start the head with `environment`, which holds `environment()`; return when it takes a graph.

        Raises:
            StartupError: it did not start.
        """
        self._forget_old_sessions()
        self._session_logs.unlink(missing_ok=True)
        self._session_logs.symlink_to(self._temp / "session_latest" / "logs")
        child = spawn("ray", self._command(), environment=environment, log=self._log)
        with self.dashboard() as dashboard:
            waiter.until(lambda: _answers(dashboard), child, timeout_s=120, poll_s=0.25)
        return child

    def _forget_old_sessions(self) -> None:
        """Remove what Ray keeps of earlier starts (sockets, logs), but for the last ones."""
        sessions = sorted(path for path in self._temp.glob("session_2*") if path.is_dir())
        for old in sessions[:-_SESSIONS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _command(self) -> list[str | Path]:
        cores = self._runtime.logical_cpus or max(4, os.cpu_count() or 1)
        return [
            Path(sys.executable).with_name("ray"),
            *("start", "--head", "--block", "--disable-usage-stats", "--log-color=false"),
            *("--temp-dir", self._temp),
            f"--num-cpus={cores}",
            f"--object-store-memory={self._runtime.object_store_mb * 2**20}",
            f"--port={self.ports.gcs}",
            *("--include-dashboard=true", "--dashboard-host=127.0.0.1"),
            f"--dashboard-port={self.ports.dashboard}",
            # Ray reserves 10002 to 19999 for its workers otherwise, and refuses every other port among them.
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            f"--ray-client-server-port={free_port()}",
        ]


def read_profile() -> dict[str, str]:
    """Return the variables of `configs/environments/ray.env`."""
    path = Path(str(files("little_monster.configs"))) / "environments" / "ray.env"
    return {name: value or "" for name, value in dotenv_values(path).items()}


def _answers(dashboard: httpx.Client) -> bool:
    try:
        return dashboard.get("/api/serve/applications/").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False

"""A whole stack for these tests: what `little-monster up` starts, once in each way that Serve takes HTTP."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.ray import FOLDER_CHARS as RAY_FOLDER_CHARS

PORT_OFFSET = 5_000
START_TIMEOUT_S = 540
# The data path of configs/environments/ray.env, and Serve's own default, a Python proxy.
DATA_PATHS = {
    "haproxy": {},
    "python-proxy": {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0"},
}


_secrets: set[str] = set()
"""What is private of the accounts that tests make."""


@dataclass(frozen=True)
class RunningStack:
    """A stack that is up: where it is, what it was started with."""

    url: str
    data: Path
    environment: dict[str, str]
    data_path: str

    def cli(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `little-monster` as a person would."""
        command = [sys.executable, "-m", "little_monster.platform.cli.main", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def processes(self) -> list[psutil.Process]:
        """Return every process that belongs to this stack."""
        marker = str(self.data)
        return [
            process for process in psutil.process_iter() if _environment(process).get("LM_DATA_DIR") == marker
        ]

    def replica(self, deployment: str, application: str = "little-monster") -> list[psutil.Process]:
        """Return the processes of a deployment's replicas."""
        return [
            process
            for process in self.processes()
            if f"ServeReplica:{application}:{deployment}" in _title(process)
        ]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """One data folder for all starts, so that the chat model is prepared once."""
    with tempfile.TemporaryDirectory(prefix="lm-serve-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session", params=list(DATA_PATHS))
def stack(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[RunningStack]:
    """A running stack; afterwards nothing of it may be left."""
    environment = {
        **os.environ,
        **DATA_PATHS[request.param],
        "LM_DATA_DIR": str(data_folder),
        "LM_RUNTIME__PORT_OFFSET": str(PORT_OFFSET),
        "LM_API__URL": f"http://127.0.0.1:{8000 + PORT_OFFSET}",
        "LM_API__LOGIN_ATTEMPTS_PER_MINUTE": "1000",
        "LM_API__LOGIN_ATTEMPTS_PER_ACCOUNT_PER_MINUTE": "1000",
        "LM_API__REQUESTS_PER_MINUTE": "100000",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "XDG_CONFIG_HOME": str(data_folder / "config"),
    }
    running = RunningStack(environment["LM_API__URL"], data_folder, environment, request.param)
    started = running.cli("up", "--detach", timeout=START_TIMEOUT_S)
    assert started.returncode == 0, started.stdout + started.stderr + _logs(data_folder)
    try:
        yield running
        metrics = httpx.get(f"{running.url}/metrics", timeout=30).text
    finally:
        stopped = running.cli("down", timeout=120)
        left = running.processes()
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        assert left == [], f"{[_title(process) for process in left]} still run"
    assert _leaks(data_folder, metrics) == []


def _leaks(data: Path, metrics: str) -> list[str]:
    """Return the logs of the stack, Ray's own among them, that hold what is private of an account."""
    ray = DataFolder.at(data).short("ray", RAY_FOLDER_CHARS)
    paths = [path for folder in (data / "logs", ray) for path in folder.rglob("*.[loe]*")]
    texts = {str(path): path.read_text(errors="replace") for path in paths if path.is_file()}
    assert any('"event": "request"' in text for text in texts.values()), "no log of a request was found"
    texts["/metrics"] = metrics
    return [place for place, text in texts.items() if any(secret in text for secret in _secrets)]


def _logs(data: Path) -> str:
    return "".join(f"\n== {path.name}\n{path.read_text()[-2000:]}" for path in (data / "logs").glob("*.log"))


@pytest.fixture(scope="session")
def new_client(stack: RunningStack) -> Callable[[], httpx.Client]:
    """Make a client of a new account."""

    def make() -> httpx.Client:
        return _client(stack, _register(stack)[1])

    return make


@pytest.fixture(scope="session")
def admin(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client of an admin."""
    account, _ = _register(stack)
    promoted = stack.cli("promote", account["email"], "admin")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    # The token of before says what the account was then.
    answer = httpx.post(f"{stack.url}/api/v1/auth/login", json=account, timeout=30)
    with _client(stack, answer.raise_for_status().json()["tokens"]) as client:
        yield client


def _register(stack: RunningStack) -> tuple[dict[str, str], dict[str, str]]:
    """Make an account; return what it logs in with, and its first tokens."""
    account = {"email": f"{secrets.token_hex(6)}@example.org", "password": secrets.token_urlsafe(16)}
    _secrets.update((*account.values(), "Quietbird"))
    body = {**account, "display_name": "Ada Quietbird"}
    answer = httpx.post(f"{stack.url}/api/v1/auth/register", json=body, timeout=30)
    assert answer.status_code == 201, answer.text
    return account, answer.json()["tokens"]


def _client(stack: RunningStack, tokens: dict[str, str]) -> httpx.Client:
    _secrets.update((tokens["access_token"].rpartition(".")[2], tokens["refresh_token"]))
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return httpx.Client(base_url=stack.url, headers=headers, timeout=120)


@pytest.fixture(scope="module")
def client(new_client: Callable[[], httpx.Client]) -> Iterator[httpx.Client]:
    """A client of an account that one module uses."""
    with new_client() as client:
        yield client

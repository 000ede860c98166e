"""Servers that are measured against: children of the benchmark, ended by their process id."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from little_monster.platform.embedded.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]


def plain_environment(**more: str) -> dict[str, str]:
    """Return this environment without our settings, and with `tests` to import from."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LM_", "RAY_"))}
    return {**inherited, "PYTHONPATH": str(REPOSITORY), **more}


def answer_of(module: str, *arguments: str, timeout_s: float, **environment: str) -> Any:
    """Run `python -m module` to its end and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=plain_environment(**environment),
        check=True,
        stdout=subprocess.PIPE,
        timeout=timeout_s,
    )
    return json.loads(done.stdout)


@contextmanager
def server(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    port: int,
    path: str,
    timeout_s: float,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m arguments` while the body runs, from when `path` on `port` is answered.

    Raises:
        RuntimeError: it ended, or did not answer in time; the message is the end of its log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=log.parent,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}{path}", log, timeout_s)
        yield process
    finally:
        _end(process)


@contextmanager
def asgi_server(
    app: str, *, environment: Mapping[str, str], log: Path, path: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run an ASGI application (`module:factory`) in one uvicorn process; yield its port and it."""
    port = free_port()
    options = ["--factory", "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"]
    quiet = ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with server(
        ["uvicorn", app, *options, *quiet],
        environment=environment,
        log=log,
        port=port,
        path=path,
        timeout_s=60,
    ) as process:
        yield port, process


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.25)
    raise RuntimeError(f"{url} is not answered: {log.read_text(errors='replace')[-1500:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child and what it has started: it leads a session of its own."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)

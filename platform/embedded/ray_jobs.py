"""Programs on a cluster, as the dashboard starts them: Ray jobs."""

import shlex
import sys
from typing import Final

import httpx

from little_monster.platform.errors import StartupError

STAGE: Final = "ray job"
_PATH: Final = "/api/jobs/"
_ENDS: Final = ("SUCCEEDED", "FAILED", "STOPPED")


def submit(dashboard: httpx.Client, module: str, *words: str, name: str, cpus: float, nice: int) -> None:
    """Start a module as the Ray job `name`, for which Ray reserves so many CPUs; it and all workers of the
    job stand back `nice` steps from their first instruction on.

    Raises:
        StartupError: the dashboard refused it, or does not answer.
    """
    # The same environment runs on all machines of a cluster.
    python = shlex.join(["nice", "-n", str(nice), sys.executable])
    body = {
        "entrypoint": f"exec {python} {shlex.join(['-m', module, *words])}",
        "submission_id": name,
        "entrypoint_num_cpus": cpus,
        "runtime_env": {"py_executable": python},
    }
    try:
        response = dashboard.post(_PATH, json=body, timeout=60)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise StartupError(STAGE, f"the dashboard does not answer: {reason}", "`make up` starts it") from None
    if response.is_error:
        raise StartupError(STAGE, response.text.strip().splitlines()[-1][:500], "read the log of Ray")


def ended(dashboard: httpx.Client, name: str) -> str | None:
    """Return why a job does not run any more, or that there is none; None while it does, or nobody knows."""
    try:
        response = dashboard.get(f"{_PATH}{name}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return "there is no such Ray job any more"
        found = response.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
    return str(found.get("message") or found["status"]) if found.get("status") in _ENDS else None

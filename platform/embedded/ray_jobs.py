"""Programs on a cluster, as the dashboard starts them: Ray jobs."""

from typing import Final

import httpx

from little_monster.platform.errors import StartupError

STAGE: Final = "ray job"
_PATH: Final = "/api/jobs/"
_ENDS: Final = ("SUCCEEDED", "FAILED", "STOPPED")


def submit(dashboard: httpx.Client, command: str, *, name: str, cpus: float) -> None:
    """Start `command` as the Ray job `name`, for which Ray reserves so many CPUs.

    Raises:
        StartupError: the dashboard refused it, or does not answer.
    """
    body = {"entrypoint": command, "submission_id": name, "entrypoint_num_cpus": cpus}
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

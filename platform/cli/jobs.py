"""Jobs that the command line waits for."""

import asyncio
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.problems import ApiProblem
from little_monster.platform.cli.uploads import state_of

_POLL_S = 0.5
_ENDED = ("completed", "failed", "cancelled")


async def queue_or_find(client: ApiClient, path: str, body: dict[str, Any], kind: str) -> dict[str, Any]:
    """Queue a job of which there is one at a time; return it, or one's own that is under way.

    Raises:
        ApiProblem: it is refused, or somebody else's is under way.
    """
    try:
        _, job = await client.post(path, json=body)
    except ApiProblem as problem:
        if problem.code != "change_under_way":
            raise
        newest = (await client.get("/api/v1/jobs", limit=100))["items"]
        mine = [one for one in newest if one["kind"] == kind and one["status"] not in _ENDED]
        if not mine:
            raise
        return dict(mine[0])
    return job


async def follow_job(client: ApiClient, job: dict[str, Any], console: Console, name: str) -> dict[str, Any]:
    """Show how far a job is, what it counts and how long it takes yet, until it ends; return it then."""
    with _progress(console) as progress:
        bar = progress.add_task(name, total=1.0, state="waiting for a worker")
        while job["status"] not in _ENDED:
            progress.update(bar, completed=float(job["progress"]), state=state_of(job))
            await asyncio.sleep(_POLL_S)
            job = await client.get(f"/api/v1/jobs/{job['id']}")
        progress.update(bar, completed=float(job["progress"]), state=job["status"])
    return job


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("[dim]{task.fields[state]}[/]"),
        TimeElapsedColumn(),
        console=console,
    )

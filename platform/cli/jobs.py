"""Jobs that the command line waits for."""

import asyncio
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.uploads import state_of

_POLL_S = 0.5
_ENDED = ("completed", "failed", "cancelled")


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

"""`little-monster reprocess ID...`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import errors, output
from little_monster.platform.cli.uploads import state_of

_POLL_S = 0.5
_ENDED = ("completed", "failed", "cancelled")


def reprocess(
    documents: Annotated[list[UUID], typer.Argument(help="Ids, as `little-monster documents` shows them.")],
) -> None:
    """Read documents anew, as after a failure, and wait until they are read."""
    jobs = asyncio.run(_reprocess(documents))
    for document, job in zip(documents, jobs, strict=True):
        failed = job["status"] != "completed"
        reason = (job.get("error") or {}).get("reason", "")
        output.print(f"[{'red' if failed else 'green'}]{job['status']}[/] {document} ", end="")
        output.print(reason, markup=False, soft_wrap=True)
    if any(job["status"] != "completed" for job in jobs):
        raise typer.Exit(1)


async def _reprocess(documents: Sequence[UUID]) -> list[dict[str, Any]]:
    async with open_session().client() as client:
        begun = [await client.post(f"/api/v1/documents/{one}/reprocess") for one in documents]
        return [await _follow(client, job) for _, job in begun]


async def _follow(client: ApiClient, job: dict[str, Any]) -> dict[str, Any]:
    with errors.status(state_of(job)) as shown:
        while job["status"] not in _ENDED:
            await asyncio.sleep(_POLL_S)
            job = await client.get(f"/api/v1/jobs/{job['id']}")
            shown.update(state_of(job))
    return job

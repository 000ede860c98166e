"""`little-monster verify`."""

import asyncio
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from little_monster.platform.cli.jobs import follow_job, queue_or_find
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.services.vector_index import VERIFY

_ROWS = {
    "points_without_passage": "points of the index without a passage",
    "passages_without_point": "passages without a point",
    "points_of_another_owner": "points that name another owner or document",
    "files_without_row": "stored files that nothing leads to",
    "rows_without_file": "documents whose file is missing",
    "overdue_changes": "changes that wait for more than a minute",
}


def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete what should not be there, embed what is missing.")
    ] = False,
) -> None:
    """Compare PostgreSQL, the vector index and the stored files; status 1 when they differ.

    A worker of the running stack does it, so that it works wherever the index is. Log in as an admin first
    (`little-monster promote` makes one).
    """
    job = asyncio.run(_verify(repair=repair))
    if job["status"] != "completed":
        output.print(f"[red]✗[/] {escape(_reason(job))}", soft_wrap=True)
        raise typer.Exit(1)
    result = job["result"]
    output.print(_table(result))
    output.print(
        f"{result['documents']:,} documents, {result['passages']:,} passages, {result['points']:,} points,"
        f" {result['files']:,} files compared"
    )
    if result["drift"]:
        said = "was repaired, but for missing files" if repair else "`--repair` mends it"
        output.print(f"[red]✗[/] {result['drift']:,} differences: {said}")
        raise typer.Exit(1)
    output.print("[green]✓[/] no drift")


async def _verify(*, repair: bool) -> dict[str, Any]:
    async with open_session().client() as client:
        job = await queue_or_find(client, "/api/v1/admin/index/verifications", {"repair": repair}, VERIFY)
        return await follow_job(client, job, output, "verify")


def _table(result: dict[str, Any]) -> Table:
    table = Table("Drift", "Count", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name, words in _ROWS.items():
        count = int(result[name])
        table.add_row(words, f"[red]{count:,}[/]" if count else "0")
    return table


def _reason(job: dict[str, Any]) -> str:
    error = job.get("error") or {}
    return str(error.get("reason") or f"the job was {job['status']}")

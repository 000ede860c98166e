"""`little-monster reembed`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from little_monster.platform.cli.jobs import follow_job, queue_or_find
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.services.vector_index import KIND, TOLERANCE


def reembed(
    model: Annotated[
        str | None, typer.Option(help="The new model: `package:NAME/folder`, a folder, or a hub id.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="The same model, all vectors anew.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Back to the model before.")] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Drop the collection before.")] = False,
    dataset: Annotated[
        Path | None,
        typer.Option(help="A folder in the form of BEIR, which workers see: a worse model is refused."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much less nDCG@10 the new model may have.")
    ] = TOLERANCE,
) -> None:
    """Change the embedding model while everybody searches on, and show the collections.

    A worker fills a new collection beside the one that is searched, and then puts it in its place; the old
    one stays until it is dropped. It goes on when this command is broken off, and the same command shows it
    again. Without options the collections are shown. Log in as an admin first.
    """
    body = _body(model, dataset, tolerance, rebuild=rebuild, rollback=rollback, drop_old=drop_old)
    job, collections = asyncio.run(_change(body))
    output.print(_table(collections))
    if job is None:
        return
    if job["status"] != "completed":
        error = job.get("error") or {}
        output.print(f"[red]✗[/] {escape(error.get('reason') or job['status'])}", soft_wrap=True)
        raise typer.Exit(1)
    output.print(f"[green]✓[/] {escape(_said(job['result']))}", soft_wrap=True)


def _body(
    model: str | None,
    dataset: Path | None,
    tolerance: float,
    *,
    rebuild: bool,
    rollback: bool,
    drop_old: bool,
) -> dict[str, Any] | None:
    """Return what to ask for; None when nothing is to be done."""
    actions = {"reembed": model is not None, "rebuild": rebuild, "rollback": rollback, "drop_old": drop_old}
    chosen = [action for action, wanted in actions.items() if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter("--model, --rebuild, --rollback and --drop-old exclude each other")
    if not chosen:
        return None
    body: dict[str, Any] = {"action": chosen[0]}
    if model is not None:
        body |= {"model": _resolved(model), "tolerance": tolerance}
        if dataset is not None:
            body["dataset"] = str(dataset.expanduser().resolve())
    return body


def _resolved(model: str) -> str:
    """Return a folder with its whole path, as the worker stands elsewhere."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.is_dir() else model


async def _change(body: dict[str, Any] | None) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    async with open_session().client() as client:
        job = None
        if body is not None:
            job = await queue_or_find(client, "/api/v1/admin/index/changes", body, KIND)
            job = await follow_job(client, job, output, str(body["action"]).replace("_", "-"))
        return job, (await client.get("/api/v1/admin/index/collections"))["items"]


def _table(collections: list[dict[str, Any]]) -> Table:
    table = Table(
        "Collection", "State", "Model", "Numbers", box=None, padding=(0, 2, 0, 0), header_style="bold"
    )
    for one in collections:
        style = "green" if one["state"] == "live" else "dim"
        table.add_row(one["name"], f"[{style}]{one['state']}[/]", escape(one["model"]), str(one["dimension"]))
    return table


def _said(result: dict[str, Any]) -> str:
    if "dropped" in result:
        return f"{result['dropped']} is dropped"
    measured = ""
    if "ndcg_new" in result:
        measured = f"; nDCG@10 {result['ndcg_new']:.4f}, before {result['ndcg_old']:.4f}"
    return f"{result['collection']} is live, with {result['model']}{measured}"

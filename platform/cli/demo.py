"""`little-monster demo`."""

import asyncio
import json
import secrets
from importlib.resources import files
from pathlib import Path

import typer

from little_monster.platform.cli.answers import ask_and_print
from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.credentials import MemoryKeeper
from little_monster.platform.cli.problems import ApiProblem
from little_monster.platform.cli.session import CliSession, open_session
from little_monster.platform.cli.terminal import command_name, output
from little_monster.platform.cli.uploads import MEDIA_TYPES, results_table, upload_all
from little_monster.platform.embedded.layout import write_json

QUESTION = "Where do the light-dependent reactions of photosynthesis take place, and what do they produce?"


def demo() -> None:
    """Upload four small study texts to a demo account, ask a question, and print the cited answer."""
    asyncio.run(_demo(open_session()))


async def _demo(session: CliSession) -> None:
    async with session.client(MemoryKeeper()) as client:
        email = await _enter(client, session.data.secrets / "demo.json")
        output.print(f"[bold]Demo account[/] {email} [dim]at {session.url}[/]\n")
        await _upload_samples(client)
        output.print(f"\n[bold]Question[/] {QUESTION}\n")
        await ask_and_print(client, QUESTION, output)
    output.print(
        f"\n[dim]With files of your own: {command_name()} register, then {command_name()} ingest FILE[/]"
    )


async def _enter(client: ApiClient, path: Path) -> str:
    """Log in to the account of an earlier run, or make one; return its address."""
    known = _known_account(path)
    if known:
        try:
            await client.login(known["email"], known["password"])
        except ApiProblem as problem:
            if problem.status != 401:  # 401: the account is of another database.
                raise
        else:
            return known["email"]
    account = {"email": f"demo-{secrets.token_hex(4)}@example.com", "password": secrets.token_urlsafe(18)}
    await client.register(account["email"], account["password"], "Demo")
    write_json(path, account)
    return account["email"]


def _known_account(path: Path) -> dict[str, str]:
    """Return the account of an earlier run; empty when there is none."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return known


async def _upload_samples(client: ApiClient) -> None:
    """Upload the sample texts that the account has not yet, and wait until they are read."""
    there = {document["title"] async for document in client.pages("/api/v1/documents")}
    titles = {path: sample_title(path) for path in sample_files()}
    missing = [path for path, title in titles.items() if title not in there]
    if not missing:
        output.print(f"[green]✓[/] {len(titles)} study texts were there")
        return
    results = await upload_all(client, missing, output, titles)
    if any(result.failed for result in results):
        output.print(results_table(results))
        raise typer.Exit(1)


def sample_files() -> list[Path]:
    """Return the bundled study texts."""
    folder = Path(str(files("little_monster.configs"))) / "samples"
    return sorted(path for path in folder.iterdir() if path.suffix in MEDIA_TYPES)


def sample_title(path: Path) -> str:
    """Return the title of a sample: `biology-photosynthesis.pdf` is `Biology: photosynthesis`."""
    subject, _, topic = path.stem.partition("-")
    return f"{subject.capitalize()}: {topic.replace('-', ' ')}"

"""`little-monster up`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from little_monster.platform.cli.terminal import command_name, output
from little_monster.platform.embedded.instance import Instance, read_instance
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.stack import Stack
from little_monster.platform.embedded.supervisor import Supervisor
from little_monster.platform.settings import load_settings


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is ready, and leave it running.")
    ] = False,
) -> None:
    """Start the whole stack on this machine: PostgreSQL, Valkey, Ray, the graph."""
    settings = load_settings()
    data = DataFolder.at(settings.data_dir)
    if detach:
        _start_detached(data)
        return
    output.print(f"[bold]Little Monster[/] [dim]in {data.root}[/]\n")
    Supervisor(Stack.of(settings), output).run(lambda instance: _announce(instance, data))


def _announce(instance: Instance, data: DataFolder) -> None:
    """Print where to go and what to try."""
    name, api = command_name(), instance.urls["api"]
    places = {
        "API": f"{api}/api/v1",
        "API docs": f"{api}/docs",
        "Ray dashboard": f"{instance.urls['dashboard']}  (token: {data.secrets / 'ray-token'})",
        "Logs": str(data.logs),
    }
    for what, where in places.items():
        output.print(f"  {what:<14} {where}", soft_wrap=True)
    output.print("\n[bold]Try next[/] [dim](in another terminal)[/]")
    for command, what in {
        f"{name} demo": "upload four study texts, ask a question, see the cited answer",
        f"{name} register": "make an account of your own",
        f"{name} ingest FILE": "add your documents, then ask: " + f'{name} ask "..."',
    }.items():
        output.print(f"  [cyan]{command:<36}[/] {what}", soft_wrap=True)
    output.print("\n[dim]Ctrl-C or `make down` stops everything.[/]")


def _start_detached(data: DataFolder) -> None:
    """Start `up` apart from this terminal, show what it prints, and return when it is ready or has failed."""
    data.prepare()
    log = data.logs / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "little_monster.platform.cli.main", "up"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COLUMNS": str(output.width)},
            start_new_session=True,
        )
    shown = 0
    while process.poll() is None and not _ready(data, process.pid):
        shown = _show(log, shown)
        time.sleep(0.3)
    time.sleep(0.3)  # The last lines.
    _show(log, shown)
    if process.poll() is not None:
        raise typer.Exit(process.returncode or 1)


def _ready(data: DataFolder, pid: int) -> bool:
    instance = read_instance(data)
    return instance is not None and instance.pid == pid and instance.state == "ready"


def _show(log: Path, shown: int) -> int:
    """Print what came to a file since `shown` bytes; return its length now."""
    with log.open("rb") as file:
        file.seek(shown)
        new = file.read()
    output.out(new.decode(errors="replace"), end="")
    return shown + len(new)

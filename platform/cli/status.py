"""`little-monster status`."""

from collections.abc import Iterator

import httpx
import psutil
import typer
from rich.markup import escape
from rich.table import Table

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.embedded.instance import Instance, marked_processes, read_instance

_MIB = 2**20


def status() -> None:
    """Show what runs on the data folder, how large it is, and whether every part is ready."""
    data = open_session().data
    instance = read_instance(data)
    if instance is None or instance.supervisor() is None:
        output.print(f"Nothing runs on {data.root}. `make up` starts it.")
        raise typer.Exit(1)
    output.print(f"[bold]{data.root}[/]  {instance.state}, process {instance.pid}")
    for name, url in instance.urls.items():
        output.print(f"  {name:<10} {url}")
    output.print(_processes(instance))
    if "api" in instance.urls:
        output.print(_parts(f"{instance.urls['api']}/readyz"))


def _processes(instance: Instance) -> Table:
    table = Table("Process", "Count", "MiB (unique)", box=None, padding=(0, 2, 0, 0), header_style="bold")
    sizes: dict[str, list[int]] = {}
    for name, size in _sizes(instance):
        sizes.setdefault(name, []).append(size)
    for name, found in sorted(sizes.items(), key=lambda item: -sum(item[1])):
        table.add_row(name, str(len(found)), f"{sum(found) / _MIB:.0f}")
    table.add_row("[bold]all[/]", "", f"[bold]{sum(map(sum, sizes.values())) / _MIB:.0f}[/]")
    return table


def _sizes(instance: Instance) -> Iterator[tuple[str, int]]:
    """Yield name and unique set size (bytes) of each process of the stack."""
    for process in marked_processes(instance.id):
        try:
            first = (process.cmdline() or [process.name()])[0]
            name = first.split(" ")[0] if "::" in first else process.name()
            yield name, process.memory_full_info().uss
        except psutil.Error:
            continue


def _parts(url: str) -> Table:
    table = Table("Part", "Ready", "ms", "Error", box=None, padding=(0, 2, 0, 0), header_style="bold")
    try:
        parts = httpx.get(url, timeout=10).json().get("parts", {})
    except (httpx.HTTPError, ValueError) as error:
        table.add_row("HTTP API", "[red]no[/]", "", escape(str(error)))
        return table
    for name, part in parts.items():
        ready = "[green]yes[/]" if part["ok"] else "[red]no[/]"
        table.add_row(name, ready, f"{part['ms']:.0f}", escape(part.get("error") or ""))
    return table

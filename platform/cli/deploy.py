"""`little-monster deploy`."""

from pathlib import Path
from typing import Annotated

import typer

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.embedded.instance import read_instance
from little_monster.platform.embedded.process import Waiter
from little_monster.platform.embedded.ray import Ray
from little_monster.platform.embedded.serve import apply_graph, read_serve_config, wait_for_graph
from little_monster.platform.errors import StartupError


def deploy(
    config: Annotated[
        Path | None, typer.Argument(help="Serve configuration; empty: that of the settings.")
    ] = None,
) -> None:
    """Deploy the graph again to the stack that runs: only what changed in the configuration is touched."""
    session = open_session()
    instance = read_instance(session.data)
    if instance is None or instance.state != "ready":
        raise StartupError("graph", f"nothing is ready on {session.data.root}", "`make up` starts it")
    ray = Ray(session.data, session.settings.runtime)
    # The ports are those of the stack that runs, whatever the settings of this terminal say.
    graph = read_serve_config(config or session.settings.runtime.serve_config, instance.ports["HTTP API"])
    with ray.dashboard(instance.urls["dashboard"]) as dashboard, output.status("deploying") as status:
        apply_graph(dashboard, graph, ray.serve_logs)
        wait_for_graph(dashboard, Waiter(), status.update, ray.serve_logs)
    output.print("[green]✓[/] The graph runs")

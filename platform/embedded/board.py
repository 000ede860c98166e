"""What the operator sees of the stages: a spinner while one runs, a line with its time when it has ended."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from little_monster.platform.embedded.process import Stopped

TITLES = {
    "machine": "Check the machine",
    "model": "Prepare the chat model",
    "postgres": "Start PostgreSQL",
    "valkey": "Start Valkey",
    "migrate": "Migrate the database",
    "ray": "Start Ray",
    "graph": "Deploy the graph",
    "ready": "Wait until every part is ready",
}


@dataclass(slots=True)
class Stage:
    """One stage: seconds are since the start of `up`."""

    name: str
    started: float
    ended: float | None = None
    note: str = ""
    mark: str = ""

    def seconds(self, now: float) -> float:
        """Return how long it has taken."""
        return (now if self.ended is None else self.ended) - self.started


class Board:
    """The stages of one start, several at a time, from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self._stages: dict[str, Stage] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the running stages below the finished ones while the body runs (only on a terminal)."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._running, console=self._console, refresh_per_second=8, transient=True
        ) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a stage; its line is printed when the body ends, with a cross when it fails."""
        stage = Stage(name, self._now())
        with self._lock:
            self._stages[name] = stage
        try:
            yield stage
        except Stopped:
            stage.note = "stopped"
            self._end(stage, "[dim]·[/]")
            raise
        except BaseException:
            self._end(stage, "[red]✗[/]")
            raise
        self._end(stage, "[green]✓[/]")

    def skip(self, name: str, note: str) -> None:
        """Print a stage that has nothing to do."""
        now = self._now()
        stage = Stage(name, now, note=note)
        self._stages[name] = stage
        self._end(stage, "[dim]·[/]")

    def total(self) -> float:
        """Return the seconds since the start."""
        return self._now()

    def breakdown(self) -> list[dict[str, Any]]:
        """Return the stages in the order of their start: name, start and length in seconds, note."""
        now = self._now()
        return [
            {
                "stage": stage.name,
                "started_s": round(stage.started, 2),
                "seconds": round(stage.seconds(now), 2),
                "note": stage.note,
            }
            for stage in sorted(self._stages.values(), key=lambda stage: stage.started)
        ]

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _end(self, stage: Stage, mark: str) -> None:
        stage.ended, stage.mark = self._now(), mark
        line = Text.from_markup(f"{mark} {TITLES.get(stage.name, stage.name):<31}")
        line.append(f"{stage.seconds(0):6.1f} s", style="bold")
        line.append(f"   {stage.note}", style="dim")
        self._console.print(line, soft_wrap=True)

    def _running(self) -> Table:
        now = self._now()
        table = Table.grid(padding=(0, 1))
        for stage in list(self._stages.values()):
            if stage.ended is None:
                title = f"{TITLES.get(stage.name, stage.name):<30}"
                table.add_row(self._spinner, title, f"{stage.seconds(now):6.1f} s", f"  [dim]{stage.note}[/]")
        return table

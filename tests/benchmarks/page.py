"""Where results are kept (`results/NAME.json`), and the page that is written of all of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import table
from tests.benchmarks.suite import Benchmark, Result

FOLDER = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
_NOTES = Path(__file__).parent / "notes"
_INTRODUCTION = """# Results

Written by `make bench` from `results/*.json`; change no number by hand. Servers that are compared run on one
machine at the same time, in rounds that take turns, so read the ratios; absolute numbers are this machine's.
Percentiles are over all requests of all rounds; a ratio of rates is the median of the rounds' ratios.
"""


def save(benchmark: Benchmark, result: Result, meta: dict[str, Any]) -> None:
    """Keep a result with what it was measured on."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{benchmark.name}.json"
    path.write_text(json.dumps({"meta": meta, "result": result}, indent=1) + "\n")


def write_page(benchmarks: Sequence[Benchmark]) -> None:
    """Write the page of the results that there are."""
    kept = [(one, json.loads(path.read_text())) for one in benchmarks if (path := _path(one)).exists()]
    goals = [goal for one, data in kept for goal in one.goals(data["result"])]
    rows = [(goal.what, goal.goal, goal.measured, "yes" if goal.met else "**no**") for goal in goals]
    summary = "## Goals\n\n" + table(("what", "goal", "measured", "met"), rows)
    sections = [_section(one, data) for one, data in kept]
    PAGE.write_text("\n".join([_INTRODUCTION, summary, _machine(kept), *sections]))


def _path(benchmark: Benchmark) -> Path:
    return FOLDER / f"{benchmark.name}.json"


def _machine(kept: Sequence[tuple[Benchmark, dict[str, Any]]]) -> str:
    newest = max((data["meta"] for _, data in kept), key=lambda meta: str(meta["date"]), default=None)
    if newest is None:
        return ""
    machine = newest["machine"]
    return "## Machine and versions\n\n" + "".join(f"- {name}: {value}\n" for name, value in machine.items())


def _section(benchmark: Benchmark, data: dict[str, Any]) -> str:
    meta = data["meta"]
    busy = f"the machine was {meta['busy_percent']:.0f} % busy before"
    rounds = f"{meta['rounds']} rounds, " if benchmark.in_rounds else ""
    notes = _NOTES / f"{benchmark.name}.md"
    return "\n".join(
        [
            f"## {benchmark.title}\n",
            f"`python -m tests.benchmarks {benchmark.name}`, {meta['date']}; {rounds}{busy}.\n",
            benchmark.report(data["result"]),
            *([notes.read_text()] if notes.exists() else []),
        ]
    )

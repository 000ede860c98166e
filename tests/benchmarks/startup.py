"""The stages of `little-monster up`: on an empty data folder, and a second time."""

from typing import Any

from little_monster.platform.embedded.board import TITLES
from tests.benchmarks.figures import table
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

GOAL_S = 60.0


def measure(session: Session) -> Result:
    """Start, stop, start again; it stays up."""
    stack = session.stack
    stack.down()
    empty = not stack.data.root.exists()
    first = stack.up()
    stack.down()
    return {"first_was_empty": empty, "first": first, "second": stack.up()}


def report(result: Result) -> str:
    """Write the section."""
    stages = [stage["stage"] for stage in result["first"]["stages"]]
    rows = [
        (TITLES.get(name, name), *(_cell(result[start], name) for start in ("first", "second")))
        for name in stages
    ]
    totals = [f"**{result[start]['seconds']:.1f}**" for start in ("first", "second")]
    return (
        "Seconds of each stage, and after how many it began. PostgreSQL, Valkey, Ray and the chat model "
        "start side by side. Installing is not counted.\n\n"
        + table(("stage", "first start", "second start"), [*rows, ("**ready**", *totals)])
    )


def _cell(startup: dict[str, Any], name: str) -> str:
    stage = next((one for one in startup["stages"] if one["stage"] == name), None)
    return f"{stage['seconds']:.1f} (at {stage['started_s']:.1f})" if stage else ""


def goals(result: Result) -> list[Goal]:
    """Compare the second start."""
    seconds = result["second"]["seconds"]
    return [
        Goal(
            "a second `little-monster up`, until ready",
            f"under {GOAL_S:.0f} s",
            f"{seconds:.1f} s",
            seconds < GOAL_S,
        )
    ]


BENCHMARK = Benchmark("startup", "Starting", measure, report, goals, in_rounds=False)

"""What a benchmark is, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.stack import BenchmarkStack

Result = dict[str, Any]
"""Plain JSON, from which alone the section of the results page is written."""


@dataclass(frozen=True, slots=True)
class Session:
    """One call of `python -m tests.benchmarks`."""

    rounds: int
    stack: BenchmarkStack


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal, what was measured, and whether that meets it."""

    what: str
    goal: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`measure` runs it; `report` writes Markdown and `goals` compares, both of the result alone."""

    name: str
    title: str
    measure: Callable[[Session], Result]
    report: Callable[[Result], str]
    goals: Callable[[Result], list[Goal]]
    in_rounds: bool = True
    """Whether it compares, in rounds that take turns."""


def no_goals(_result: Result) -> list[Goal]:
    """Return nothing: this benchmark only informs."""
    return []

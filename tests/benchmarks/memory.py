"""Memory of the whole idle stack, by process, and how much of the processor it takes while nobody asks."""

import time
from collections import defaultdict
from typing import Any

import psutil

from tests.benchmarks.figures import table
from tests.benchmarks.processes import ProcessorMeter, label
from tests.benchmarks.suite import Benchmark, Result, Session, no_goals

SETTLE_S = 10.0
WATCH_S = 10.0
_MIB = 2**20


def measure(session: Session) -> Result:
    """Measure once it has settled."""
    session.stack.ensure_up()
    time.sleep(SETTLE_S)
    processes = session.stack.processes()
    meter = ProcessorMeter(processes)
    time.sleep(WATCH_S)
    cores = {name: seconds / WATCH_S for name, seconds in meter.seconds().items()}
    sizes = _sizes(processes)
    for name, size in sizes.items():
        size["cores"] = round(cores.get(name, 0.0), 3)
    return {"kinds": dict(sorted(sizes.items(), key=lambda item: -item[1]["unique_mb"]))}


def _sizes(processes: list[psutil.Process]) -> dict[str, dict[str, Any]]:
    """Return count, and MiB of resident, proportional and unique memory, by kind of process."""
    kinds: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"count": 0, "resident_mb": 0.0, "proportional_mb": 0.0, "unique_mb": 0.0}
    )
    for process in processes:
        try:
            name, memory = label(process), process.memory_full_info()
        except psutil.Error:
            continue
        kind = kinds[name]
        kind["count"] += 1
        kind["resident_mb"] += round(memory.rss / _MIB, 1)
        kind["proportional_mb"] += round(getattr(memory, "pss", 0) / _MIB, 1)
        kind["unique_mb"] += round(memory.uss / _MIB, 1)
    return kinds


def report(result: Result) -> str:
    """Write the section."""
    kinds = result["kinds"]
    columns = ("count", "resident_mb", "proportional_mb", "unique_mb", "cores")
    total = [sum(kind[column] for kind in kinds.values()) for column in columns]
    rows = [_row(name, [kind[column] for column in columns]) for name, kind in kinds.items()]
    head = ("process", "count", "resident (MiB)", "proportional (MiB)", "unique (MiB)", "cores, idle")
    return (
        f"{SETTLE_S:.0f} s after it was ready, with no request. Resident memory counts shared pages in each "
        "process; proportional memory shares them out, so that its sum is what the machine gives; unique "
        "memory is what comes back when the process ends.\n\n" + table(head, [*rows, _row("**all**", total)])
    )


def _row(name: str, values: list[float]) -> tuple[object, ...]:
    count, *sizes, cores = values
    return (name, count, *(f"{size:.0f}" for size in sizes), f"{cores:.2f}")


BENCHMARK = Benchmark("memory", "Memory of the idle stack", measure, report, no_goals, in_rounds=False)

"""Measure, and write `RESULTS.md`: ``python -m tests.benchmarks [NAME ...] [--rounds N]``.

Starts a stack of its own (data folder, ports) and stops it, whatever else runs on the machine.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import (
    completions,
    embedding,
    ingest,
    memory,
    mock_engine,
    parse,
    read_row,
    records,
    search,
    startup,
)
from tests.benchmarks.machine import busy_percent, describe_machine
from tests.benchmarks.page import PAGE, save, write_page
from tests.benchmarks.stack import BenchmarkStack
from tests.benchmarks.suite import Benchmark, Session

# What has processes of its own comes first; the mock's graph comes after what it could slow down.
ORDER: tuple[Benchmark, ...] = (
    ingest.BENCHMARK,
    parse.BENCHMARK,
    embedding.BENCHMARK,
    search.BENCHMARK,
    startup.BENCHMARK,
    memory.BENCHMARK,
    completions.BENCHMARK,
    read_row.BENCHMARK,
    records.BENCHMARK,
    mock_engine.BENCHMARK,
)
_PAGE_ORDER = (
    "completions",
    "mock_engine",
    "read_row",
    "records",
    "startup",
    "memory",
    "ingest",
    "embedding",
    "parse",
    "search",
)


def main() -> int:
    """Run what is asked for; return 1 when one failed."""
    given = _arguments()
    if given.page:
        write_page(_in_page_order())
        return 0
    chosen = [one for one in ORDER if not given.names or one.name in given.names]
    # Ending by SIGTERM must stop the stack too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Directly in /tmp: sockets go below, whose paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    session = Session(given.rounds, BenchmarkStack(folder))
    try:
        failed = [one.name for one in chosen if not _run(one, session)]
    finally:
        session.stack.down()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"failed: {', '.join(failed)}" if failed else f"wrote {PAGE.name}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(one.name for one in ORDER))
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each comparison (5)")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    given = parser.parse_args()
    unknown = set(given.names) - {one.name for one in ORDER}
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return given


def _run(benchmark: Benchmark, session: Session) -> bool:
    """Measure, keep the result, write the page; say whether that went well."""
    print(f"{benchmark.name} ...", flush=True)
    begun, date = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    meta = {
        "date": date,
        "rounds": session.rounds,
        "busy_percent": busy_percent(),
        "machine": describe_machine(),
    }
    try:
        save(benchmark, benchmark.measure(session), meta)
    except Exception:
        # One that fails must not cost the others their minutes.
        traceback.print_exc()
        return False
    write_page(_in_page_order())
    print(f"{benchmark.name} took {time.monotonic() - begun:.0f} s", flush=True)
    return True


def _in_page_order() -> list[Benchmark]:
    return sorted(ORDER, key=lambda one: _PAGE_ORDER.index(one.name))


if __name__ == "__main__":
    sys.exit(main())

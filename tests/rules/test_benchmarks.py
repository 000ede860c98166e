"""Benchmarks run seldom; what they import must be there all the same."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"


def test_every_benchmark_can_be_imported() -> None:
    modules = [f"tests.benchmarks.{path.stem}" for path in FOLDER.glob("*.py") if path.stem != "__main__"]
    assert len(modules) > 20
    command = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, cwd=FOLDER.parents[1]
    )
    assert done.returncode == 0, done.stderr

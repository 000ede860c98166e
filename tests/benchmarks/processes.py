"""Names for the processes of a stack, and the processor time that they take."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import psutil

# The first pattern that is found in the command line names the process.
_NAMES = (
    (r"ServeReplica:[^:]+:(llm:\S+?)(?:\.initialize\w*)?(?:\s|$)", r"replica \1"),
    (r"ServeReplica:[^:]+:([\w-]+)", r"replica \1"),
    (r"VLLM::(\w+)", r"vLLM \1"),
    (r"ray::(ServeController|HAProxyManager|ProxyActor)", r"Serve \1"),
    (r"ray::(\w+)", r"Ray worker (\1)"),
    (r"raylet/raylet", "Ray raylet"),
    (r"gcs_server", "Ray gcs_server"),
    (r"(?:^|/)haproxy\b", "HAProxy"),
    (r"dashboard[-/](?:agent|DashboardAgent)|DashboardAgent", "Ray dashboard agent"),
    (r"ray-dashboard|dashboard/dashboard\.py", "Ray dashboard"),
    (r"(runtime_env|RuntimeEnv)", "Ray runtime env agent"),
    (r"log_monitor", "Ray log monitor"),
    (r"autoscaler|monitor\.py", "Ray autoscaler monitor"),
    (r"bin/ray start", "Ray start"),
    (r"cli\.main up|little-monster up", "little-monster up"),
    (r"vllm\.entrypoints", "vLLM API server"),
    (r"postgres", "PostgreSQL"),
    (r"valkey", "Valkey"),
    (r"uvicorn", "uvicorn"),
    (r"util\.client\.server", "Ray client server"),
    (r"resource_tracker|spawn_main|forkserver", "Python helper"),
)


def label(process: psutil.Process) -> str:
    """Return what a process is, alike for all of its kind.

    Raises:
        psutil.Error: it has ended.
    """
    command = " ".join(process.cmdline()) or process.name()
    for pattern, name in _NAMES:
        if found := re.search(pattern, command):
            return found.expand(name)
    return str(process.name())


def with_descendants(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


class ProcessorMeter:
    """Processor seconds by name, since it was made."""

    def __init__(self, processes: Iterable[psutil.Process]) -> None:
        self._processes = list(processes)
        self._before = {process.pid: _seconds(process) for process in self._processes}

    def seconds(self) -> dict[str, float]:
        """Return what each kind of process has taken meanwhile, the greediest first."""
        spent: defaultdict[str, float] = defaultdict(float)
        for process in self._processes:
            try:
                spent[label(process)] += _seconds(process) - self._before[process.pid]
            except psutil.Error:
                continue
        return {name: round(seconds, 4) for name, seconds in _greediest(spent)}


def _greediest(spent: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(spent.items(), key=lambda item: -item[1])


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)

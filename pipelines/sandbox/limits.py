"""What a process that parses a file may use."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from little_monster.pipelines.stages.parse import Family

# Pages of libraries that are touched for the first time while a file is parsed are not asked for.
_SLACK_BYTES = 24 * 2**20
_LEAST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of CPU and of time, bytes of memory (resident), of a file that it writes and of its answer, and
    open files; whether it may start programs and threads.
    """

    cpu_s: int = 50
    wall_s: float = 55.0
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 16 * 2**20
    output_bytes: int = 64 * 2**20
    open_files: int = 64
    processes: bool = False


LIMITS: Mapping[Family, Limits] = {
    Family.LIGHT: Limits(),
    Family.RICH: Limits(),
    # Models, and a program for each page. It ends before who waits for it gives up (`ReaderOptions`).
    Family.OCR: Limits(
        cpu_s=1_000,
        wall_s=270.0,
        memory_bytes=6 * 2**30,
        file_bytes=2**30,
        open_files=1_024,
        processes=True,
    ),
}


def apply(limits: Limits) -> None:
    """Limit this process, for good. Nobody, not even root, gets a core dump of it."""
    values = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_AS: _memory_room(limits),
    }
    if not limits.processes:
        # Root is exempt; `kernel` forbids processes and threads to it too.
        values[resource.RLIMIT_NPROC] = 0
    for kind, value in values.items():
        # At the soft limit of CPU time the process is told (SIGXCPU), and ends.
        resource.setrlimit(kind, (value, value + 2 if kind == resource.RLIMIT_CPU else value))


def _memory_room(limits: Limits) -> int:
    """Return the address space that lets this process grow to the resident memory that it may have.

    Resident memory itself cannot be limited (RLIMIT_RSS does nothing on Linux), and libraries map far more
    than they use: so what is mapped by now is not counted, and what will be is, every byte as if it were
    used.
    """
    mapped, resident = _pages()
    return mapped + max(limits.memory_bytes - resident - _SLACK_BYTES, _LEAST_BYTES)


def _pages() -> tuple[int, int]:
    mapped, resident, *_ = Path("/proc/self/statm").read_text().split()
    return int(mapped) * resource.getpagesize(), int(resident) * resource.getpagesize()

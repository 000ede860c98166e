"""Whether this machine can carry the stack: cores, memory, disk, free ports."""

import os
import shutil
from pathlib import Path

import psutil

from little_monster.platform.embedded.ports import Ports, is_free
from little_monster.platform.errors import StartupError

STAGE = "machine"
_GIB = 2**30
_MIN_MEMORY_GIB = 5.0
_MIN_DISK_GIB = 2.0


def check_machine(folder: Path, ports: Ports) -> str:
    """Return one line that says what the machine has.

    Raises:
        StartupError: memory or disk is too small, or a port is taken; it says which and what to do.
    """
    memory = psutil.virtual_memory().available / _GIB
    disk = shutil.disk_usage(folder).free / _GIB
    _check_size(
        "memory", memory, _MIN_MEMORY_GIB, "close other programs, or point the graph at a smaller model"
    )
    _check_size("disk", disk, _MIN_DISK_GIB, "free some space, or choose another folder with LM_DATA_DIR")
    _check_ports(ports)
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory and {disk:.0f} GiB of disk free"


def _check_size(what: str, available: float, needed: float, remedy: str) -> None:
    if available < needed:
        raise StartupError(STAGE, f"{available:.1f} GiB of {what} are free, {needed:.0f} are needed", remedy)


def _check_ports(ports: Ports) -> None:
    taken = [f"{port} ({name})" for name, port in ports.named().items() if not is_free(port)]
    if taken:
        raise StartupError(
            STAGE,
            f"port {', '.join(taken)} is in use by another program",
            f"end that program, or move all ports: LM_RUNTIME__PORT_OFFSET={ports.offset + 100} make up",
        )

"""The stack that runs on a data folder: its state file, and how exactly that stack is found and stopped."""

import fcntl
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from little_monster.platform.embedded.layout import DataFolder, write_json
from little_monster.platform.embedded.process import MARKER


@dataclass(slots=True)
class Instance:
    """What is known of a stack: `id` marks its processes, `pid` is `little-monster up` itself."""

    id: str
    pid: int
    created: float
    """When `pid` was started, so that a reused number is not taken for it."""
    state: str = "starting"
    ports: dict[str, int] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)
    """Process ids by name of the part."""
    urls: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, identity: str, ports: dict[str, int]) -> "Instance":
        """Return the instance of this very process."""
        return cls(identity, os.getpid(), psutil.Process().create_time(), ports=ports)

    def save(self, data: DataFolder) -> None:
        """Write the state file."""
        write_json(_state_file(data), asdict(self))

    def supervisor(self) -> psutil.Process | None:
        """Return the `little-monster up` of this instance, if it lives."""
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.created) < 1 else None
        except psutil.Error:
            return None


def read_instance(data: DataFolder) -> Instance | None:
    """Return what the state file says; None without one. Its processes may be gone."""
    try:
        return Instance(**json.loads(_state_file(data).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def forget_instance(data: DataFolder) -> None:
    """Remove the state file."""
    _state_file(data).unlink(missing_ok=True)


def _state_file(data: DataFolder) -> Path:
    return data.run / "instance.json"


class DataFolderLock:
    """Held by `little-monster up`; the system lets it go when the process ends, however it ends."""

    def __init__(self, data: DataFolder) -> None:
        self._file = (data.run / "lock").open("a")

    def take(self) -> bool:
        """Take the lock; False when another process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let it go."""
        self._file.close()


def marked_processes(identity: str) -> list[psutil.Process]:
    """Return the processes that carry the mark of this instance, and what these started, but not this one."""
    marked = {process for process in psutil.process_iter() if _carries(process, identity)}
    for process in list(marked):
        marked.update(_descendants(process))
    ours = psutil.Process()
    return [process for process in marked - {ours} if _alive(process)]


def stop_marked(identity: str, *, grace_s: float = 8.0, keep: Iterable[int] = ()) -> int:
    """End what is left of an instance and nothing else; return how many processes that were.

    Args:
        identity: of the instance.
        grace_s: seconds between asking and killing.
        keep: process ids to spare, with what these started.
    """
    total: set[psutil.Process] = set()
    for _ in range(3):  # A process may start another one while it is being stopped.
        spared = _with_descendants(keep)
        found = [process for process in marked_processes(identity) if process not in spared]
        if not found:
            break
        total.update(found)
        _signal(found, signal.SIGTERM)
        _, left = psutil.wait_procs(found, timeout=grace_s)
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)
    return len(total)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            # PostgreSQL's SIGTERM waits for its clients; its SIGINT ends them and writes everything down.
            quick = number is signal.SIGTERM and process.name() == "postgres"
            process.send_signal(signal.SIGINT if quick else number)
        except psutil.Error:
            continue


def _carries(process: psutil.Process, identity: str) -> bool:
    try:
        return bool(process.environ().get(MARKER) == identity)
    except (psutil.Error, OSError):
        return False


def _with_descendants(pids: Iterable[int]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for pid in pids:
        if psutil.pid_exists(pid):
            process = psutil.Process(pid)
            found.update((process, *_descendants(process)))
    return found


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


def _alive(process: psutil.Process) -> bool:
    try:
        alive: bool = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return alive

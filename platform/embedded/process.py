"""A child process of `little-monster up`: its start apart from the terminal, its log, its end."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from little_monster.platform.errors import StartupError

MARKER = "LM_INSTANCE"
"""Environment variable that every process of one stack carries, and by which it is found again."""

POLL_S = 0.1


class Child:
    """One running child.

    Args:
        name: of the part, for messages.
        process: it.
        log: where its output goes.
        end: the signal that asks it to stop.
    """

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        log: Path,
        end: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name, self._process, self.log, self._end = name, process, log, end

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        """Say whether it lives."""
        return self._process.poll() is None

    def stop(self, grace_s: float) -> None:
        """Ask it to stop, and kill it when it has not after `grace_s` seconds."""
        if self.running():
            self._process.send_signal(self._end)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def last_words(self) -> str:
        """Return the last line of its log that says something."""
        return last_line(self.log) or f"see {self.log}"


def spawn(
    name: str,
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log: Path,
    end: signal.Signals = signal.SIGTERM,
    user: str | None = None,
    folder: Path | None = None,
) -> Child:
    """Start a child in a session of its own: Ctrl-C reaches `up` only, which stops its children in order."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    return Child(name, process, log, end)


class Stopped(Exception):
    """Waiting ended because the operator wants to stop."""


class Waiter:
    """Waits for parts to become ready until the operator wants to stop."""

    def __init__(self) -> None:
        self.stopping = threading.Event()

    def pause(self, seconds: float) -> None:
        """Sleep; raises `Stopped` when the operator wants to stop."""
        if self.stopping.wait(seconds):
            raise Stopped

    def until(
        self, ready: Callable[[], bool], child: Child, *, timeout_s: float, poll_s: float = POLL_S
    ) -> None:
        """Return once `ready` says so.

        Raises:
            StartupError: the child died, or was not ready within `timeout_s` seconds.
            Stopped: the operator wants to stop.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not child.running():
                raise StartupError(child.name, f"it ended: {child.last_words()}", f"read {child.log}")
            if time.monotonic() > deadline:
                raise StartupError(
                    child.name,
                    f"not ready after {timeout_s:.0f} s: {child.last_words()}",
                    f"read {child.log}",
                )
            self.pause(poll_s)


def last_line(log: Path) -> str:
    """Return the last non-empty line of a text file, at most 300 characters; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

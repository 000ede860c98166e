"""A model in processes of their own, for texts that nobody waits for.

Threads of a low priority do not do: Linux shares the processor among sessions before it looks at who is in
them (sched(7), "The autogroup feature"). A thread that never rests has everything outside of its session,
the database and the kernel's network threads among it, wait for tens of milliseconds, however low it is. A
session of its own can be lowered as a whole.
"""

import contextlib
import queue
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

import numpy

from little_monster.platform.clean_environment import clean_environment
from little_monster.platform.engines.lanes import Encoder
from little_monster.platform.errors import EngineFailed
from little_monster.platform.priority import give_way

# Of the processor it gets what nobody else wants, and a little more.
_NICE: Final = 19
# The data folder tells whose process this is.
_VARIABLES: Final = ("LM_DATA_DIR", "TMPDIR", "HF_HOME", "HF_HUB_OFFLINE")
# The first answer comes when the model is loaded.
_ANSWER_S, _END_S = 300.0, 10.0
_IDLE_S = 300.0
"""Seconds without a text after which a process ends; the next text starts another one."""


Load = Callable[[], Encoder]


class BackgroundEncoder:
    """An `Encoder` that gives the vectors of another one, by processes that begin with the first texts.

    Args:
        load: loads the model; runs in each process, and is sent there as pickle sends it.
        processes: slices at once.
    """

    def __init__(self, load: Load, *, processes: int) -> None:
        self._workers = [_Worker(load) for _ in range(processes)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def encode(self, texts: list[str]) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension). Blocks; several threads may call it.

        Raises:
            EngineFailed: the process ended twice over these texts, or could not load the model.
        """
        worker = self._free.get()
        try:
            return worker.encode(texts)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes; more texts start them again."""
        for worker in self._workers:
            worker.close()


class _Worker:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def encode(self, texts: list[str]) -> numpy.ndarray:
        try:
            answer = self._ask(texts)
        except (EOFError, OSError):
            # It was killed, or has just ended as it had nothing to do.
            self.close()
            try:
                answer = self._ask(texts)
            except (EOFError, OSError) as error:
                self.close()
                raise EngineFailed("The process that embeds documents ended; try again.") from error
        if isinstance(answer, str):
            raise EngineFailed(f"Embedding failed: {answer}")
        return answer

    def close(self) -> None:
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _ask(self, texts: list[str]) -> numpy.ndarray | str:
        connection = self._connection or self._start()
        connection.send(texts)
        if not connection.poll(_ANSWER_S):
            raise TimeoutError
        answer: numpy.ndarray | str = connection.recv()
        return answer

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env=clean_environment(*_VARIABLES),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._connection.send(self._load)
        return self._connection


def serve(connection: Connection) -> None:
    """Load the model that is sent first; then answer texts with vectors, and what goes wrong with its words,
    until nobody asks any more."""
    load: Load = connection.recv()
    encoder = load()
    while connection.poll(_IDLE_S):
        texts: list[str] = connection.recv()
        try:
            answer: numpy.ndarray | str = encoder.encode(texts)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        connection.send(answer)


def main(arguments: list[str]) -> None:
    """Serve who started this: its descriptor."""
    (descriptor,) = arguments
    give_way(_NICE)
    with Connection(int(descriptor)) as connection, contextlib.suppress(EOFError, BrokenPipeError):
        serve(connection)


if __name__ == "__main__":
    main(sys.argv[1:])

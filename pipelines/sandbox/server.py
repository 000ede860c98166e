"""A process that holds the parsers ready and forks a child for each file: ``python -m ... CONTROL FAMILY``.

It takes no part in what its children do. CONTROL is the descriptor of a socket (sequenced packets) to the
client: a request comes as JSON with two descriptors, the file and where the answer goes, and is answered,
when its child has ended, with an `Ending`. It ends, with its child, when the client is gone.
"""

import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

from little_monster.pipelines.sandbox import child
from little_monster.pipelines.sandbox.limits import Limits
from little_monster.pipelines.stages.parse import Family, preload
from little_monster.platform import kernel
from little_monster.platform.priority import give_way

PACKET_BYTES = 4096
READY = b"ready"
_NICENESS = 10
# A child lives for one file, and memory that hangs together in circles is rare in it.
_COLLECT_AFTER = 50_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: its exit status or signal (0: none), and what it used, in seconds and bytes."""

    status: int
    signal: int
    timed_out: bool
    wall_s: float
    cpu_s: float
    peak_bytes: int


def serve(control: socket.socket, folder: str) -> None:
    """Answer requests, one after the other, until the client is gone."""
    control.send(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, 2)
        if not message:
            return
        request = json.loads(message)
        limits = Limits(**request.pop("limits"))
        place = tempfile.mkdtemp(dir=folder)
        try:
            source, answer = descriptors
            ending = _run(child.Request(**request, source=source, answer=answer), limits, place, control)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        control.send(json.dumps(asdict(ending)).encode())


def _run(request: child.Request, limits: Limits, place: str, control: socket.socket) -> Ending:
    begun = time.monotonic()
    pid = os.fork()
    if not pid:
        child.run(request, limits, place)
    os.close(request.source)
    os.close(request.answer)
    timed_out = _wait(pid, limits.wall_s, control)
    _kill(pid)
    _, status, usage = os.wait4(pid, 0)
    return Ending(
        status=os.waitstatus_to_exitcode(status),
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        timed_out=timed_out,
        wall_s=round(time.monotonic() - begun, 3),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
        peak_bytes=usage.ru_maxrss * 1024,
    )


def _wait(pid: int, limit_s: float, control: socket.socket) -> bool:
    """Wait until a child ends, for so long, or until the client is gone; return whether it still runs."""
    handle = os.pidfd_open(pid)
    try:
        # The client says nothing before it has its answer, so that what is to be read is the end.
        ready, _, _ = select.select([handle, control.fileno()], [], [], limit_s)
    finally:
        os.close(handle)
    return handle not in ready


def _kill(pid: int) -> None:
    """End a child, which is not reaped yet, with all of its group."""
    for end in (os.killpg, os.kill):
        try:
            end(pid, signal.SIGKILL)
        except ProcessLookupError:
            # It did not get to make its group.
            continue


def main(arguments: list[str]) -> None:
    """Load the parsers and serve."""
    control = socket.socket(fileno=int(arguments[0]))
    kernel.forbid_new_privileges()
    kernel.leave_network()
    # Answers to people go before files.
    give_way(_NICENESS)
    family = Family(arguments[1])
    if family is not Family.OCR:
        _without_torch()
    preload(family)
    # What is there by now stays, and looking through it again would copy its memory in every child.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    with tempfile.TemporaryDirectory(prefix="lm-parse-") as folder:
        serve(control, folder)


def _without_torch() -> None:
    # spaCy would load it when it is there: 0.2 GB that no parser uses.
    modules: dict[str, Any] = sys.modules
    modules["torch"] = None


if __name__ == "__main__":
    main(sys.argv[1:])

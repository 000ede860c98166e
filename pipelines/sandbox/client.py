"""Has files parsed in confined processes, and says why when that fails."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Final

import structlog

from little_monster.pipelines.sandbox import failures, wire
from little_monster.pipelines.sandbox.limits import LIMITS, Limits
from little_monster.pipelines.sandbox.server import PACKET_BYTES, READY, Ending
from little_monster.pipelines.stages.document import ParsedDocument
from little_monster.pipelines.stages.parse import MAX_PAGES, Family, family_of
from little_monster.platform.clean_environment import clean_environment
from little_monster.platform.errors import LittleMonsterError, ReadFailure

_KEPT_VARIABLES: Final = ("TZ", "TMPDIR", "HF_HOME")
# A process with threads must not fork.
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# A page takes and frees megabytes: given back to the system each time, they would be faulted in anew for the
# next. Bytes that stay at the end of the heap, and of a block that is mapped alone (mallopt(3)).
_KEPT_MEMORY: Final = {"MALLOC_TRIM_THRESHOLD_": str(2**24), "MALLOC_MMAP_THRESHOLD_": str(2**20)}
_SERVER: Final = "little_monster.pipelines.sandbox.server"
_START_S = 120.0
_GRACE_S = 10.0
# A child that died with this much of its memory in use most likely wanted more.
_NEARLY_ALL = 0.8

_log = structlog.get_logger(__name__)


class SandboxBroken(LittleMonsterError):
    """The process that holds the parsers did not start, or ended: no fault of a document."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child wrote, None when it was too much, how it ended, and what its limits were."""

    content: bytes | None
    ending: Ending
    limits: Limits


class Sandbox:
    """Parses files in processes of their own, one at a time for each family of parsers.

    A server starts with the first file of its family, and is kept. Safe to be called by several threads.

    Args:
        limits: for each file, of whatever family; None: those of its family.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = dict.fromkeys(Family, limits) if limits else LIMITS
        self._servers: dict[Family, _Server] = {}
        self._locks = {family: threading.Lock() for family in Family}

    def parse(self, content: bytes, file_type: str, *, max_pages: int = MAX_PAGES) -> ParsedDocument:
        """Read a document as `stages.parse.parse` does, in a confined process. Blocks.

        Raises:
            ReadFailure: what `parse` raises, and `parse_timeout`, `parser_out_of_memory`, `parser_crashed`,
                `output_too_large`.
            SandboxBroken: another time it may work.
        """
        return self.document_of(self.ask(content, file_type, max_pages=max_pages))

    def ask(self, content: bytes, file_type: str, *, max_pages: int = MAX_PAGES) -> Answer:
        """Have a child parse a file, and return what it said and how it ended.

        Raises:
            ReadFailure: `unknown_file_type`. SandboxBroken: see `parse`.
        """
        family = family_of(file_type)
        with self._locks[family]:
            server = self._servers.get(family) or _Server(family)
            self._servers[family] = server
            try:
                return server.ask(content, file_type, max_pages, self._limits[family])
            except BaseException:
                self._servers.pop(family).close()
                raise

    def close(self) -> None:
        """End the servers; another file starts them again."""
        for family, lock in self._locks.items():
            with lock:
                if family in self._servers:
                    self._servers.pop(family).close()

    def document_of(self, answer: Answer) -> ParsedDocument:
        """Return the document of an answer. Raises ReadFailure as `parse`."""
        ending = answer.ending
        if ending.timed_out or ending.signal == signal.SIGXCPU:
            raise failures.timeout(answer.limits.wall_s)
        if answer.content is None:
            raise failures.too_large()
        if ending.status:
            raise _death(ending, answer.limits)
        try:
            return wire.read_answer(answer.content)
        except ReadFailure as failure:
            # Libraries that get no memory may take the file for damaged.
            if failure.code.endswith("_damaged") and _was_full(ending, answer.limits):
                raise failures.out_of_memory() from None
            raise
        except (wire.ParserError, wire.Malformed) as error:
            _log.warning("parser_failed", error=type(error).__name__, detail=str(error))
            raise failures.crashed() from None


class _Server:
    """A running server of a family; `ask` fails for good when it ended."""

    def __init__(self, family: Family) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    _SERVER,
                    str(theirs.fileno()),
                    family,
                ],
                env={**clean_environment(*_KEPT_VARIABLES), **_ONE_THREAD, **_KEPT_MEMORY},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        if self._receive(_START_S) != READY:
            self.close()
            raise SandboxBroken(f"the server of the {family} parsers did not start")

    def ask(self, content: bytes, file_type: str, max_pages: int, limits: Limits) -> Answer:
        """Have a child parse a file. Raises SandboxBroken."""
        request = {"file_type": file_type, "max_pages": max_pages, "limits": asdict(limits)}
        deadline = time.monotonic() + limits.wall_s + _GRACE_S
        with tempfile.TemporaryFile() as source:
            source.write(content)
            source.seek(0)
            ours, theirs = os.pipe()
            try:
                self._send(json.dumps(request).encode(), [source.fileno(), theirs])
            finally:
                os.close(theirs)
            with open(ours, "rb", buffering=0) as pipe:  # noqa: PTH123  A descriptor has no path.
                answer = _read(pipe.fileno(), limits.output_bytes, deadline)
        message = self._receive(max(deadline - time.monotonic(), 1.0))
        if not message:
            raise SandboxBroken("the server of the parsers ended")
        return Answer(answer, Ending(**json.loads(message)), limits)

    def close(self) -> None:
        """End it; its child ends with it."""
        self._control.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._control, [message], descriptors)
        except OSError as error:
            raise SandboxBroken("the server of the parsers ended") from error

    def _receive(self, limit_s: float) -> bytes:
        self._control.settimeout(limit_s)
        try:
            return self._control.recv(PACKET_BYTES)
        except OSError:
            return b""


def _death(ending: Ending, limits: Limits) -> ReadFailure:
    _log.warning("parser_died", signal=ending.signal, status=ending.status, peak=ending.peak_bytes)
    if ending.signal == signal.SIGKILL and ending.cpu_s >= limits.cpu_s:
        return failures.timeout(limits.wall_s)
    # Nobody but the kernel kills it so, when the machine has no memory left.
    if ending.signal == signal.SIGKILL or _was_full(ending, limits):
        return failures.out_of_memory()
    return failures.crashed()


def _was_full(ending: Ending, limits: Limits) -> bool:
    return ending.peak_bytes >= _NEARLY_ALL * limits.memory_bytes


def _read(pipe: int, limit: int, deadline: float) -> bytes | None:
    """Return what comes until the end, None when it is longer than `limit`; not all when time is up."""
    parts, size = [], 0
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
        part = os.read(pipe, 2**20)
        if not part:
            break
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


@lru_cache(maxsize=1)
def shared_sandbox() -> Sandbox:
    """Return the sandbox of this process."""
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox

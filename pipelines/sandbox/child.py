"""The process of one file: it gives up all that it does not need, parses, answers and ends."""

import os
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from little_monster.pipelines.sandbox import failures, wire
from little_monster.pipelines.sandbox.limits import Limits, apply
from little_monster.pipelines.stages.parse import parse
from little_monster.platform import kernel
from little_monster.platform.errors import ReadFailure

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Request:
    """A file to parse: `source` and `answer` are file descriptors to read it from, and to write to."""

    file_type: str
    max_pages: int
    source: int
    answer: int


def run(request: Request, limits: Limits, folder: str) -> NoReturn:
    """Answer a request in this process, in the working folder `folder`, and end the process."""
    try:
        _confine(request, limits, folder)
        _write(request.answer, _answer(request))
        os._exit(0)
    finally:
        # Never the way back to the server that was forked.
        os._exit(1)


def _confine(request: Request, limits: Limits, folder: str) -> None:
    # Its own group can be killed; the session, and so the priority, is the server's.
    os.setpgid(0, 0)
    kernel.die_with_parent()
    os.chdir(folder)
    # What the libraries, and the programs that they start, keep for a while.
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    _close_others(request)
    apply(limits)
    kernel.confine_files(_readable(), folder)
    if not limits.processes:
        kernel.refuse_calls()


def _close_others(request: Request) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    kept = sorted({request.source, request.answer})
    for after, before in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(after + 1, before)


def _readable() -> Iterator[str]:
    """Yield where the libraries, and the programs that they start, read what they load late."""
    yield from kernel.library_folders()
    yield "/usr/bin"
    yield from ([os.environ["HF_HOME"]] if "HF_HOME" in os.environ else [])


def _answer(request: Request) -> bytes:
    try:
        content = _read(request.source)
        return wire.document_answer(parse(content, request.file_type, max_pages=request.max_pages))
    except ReadFailure as failure:
        return wire.failure_answer(failure)
    except MemoryError:
        return wire.failure_answer(failures.out_of_memory())
    except Exception:
        return wire.error_answer(traceback.format_exc())


def _read(source: int) -> bytes:
    size = os.fstat(source).st_size
    with open(source, "rb", buffering=0) as file:
        return file.read(size)


def _write(target: int, answer: bytes) -> None:
    rest = memoryview(answer)
    while rest:
        rest = rest[os.write(target, rest[:_READ_BYTES]) :]

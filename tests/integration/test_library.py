"""A folder by a real plan of Ray Data, on a Ray of its own: rows and vectors, and what a second run costs."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import ray

from little_monster.db.engine import create_engine
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, Subject
from little_monster.db.repositories import document_chunks, jobs, user_documents
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.pipelines.ingest import IngestParts, Stages
from little_monster.pipelines.library import intake
from little_monster.pipelines.library import run as library
from little_monster.pipelines.library.intake import Intake, Run
from little_monster.pipelines.library.plan import Plan, take
from little_monster.pipelines.library.sources import list_files
from little_monster.pipelines.stages.columns import Ended, File
from little_monster.platform.engines.remote import RemoteEmbedder, RemoteVectorIndex
from little_monster.platform.services.documents import INGEST_ATTEMPTS
from little_monster.platform.services.library import Order, open_run
from little_monster.platform.storage import FileStorage, open_storage
from tests.fixtures import documents
from tests.fixtures.disks import small_disk
from tests.fixtures.ingest_worker import read_here
from tests.fixtures.parts_server import Handle, SlowEmbedder, served

ROOT = Path(__file__).parents[2]
MAX_BYTES = 2**20

T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="lm-ray-", dir="/tmp"))
    paths = os.pathsep.join([str(ROOT / ".imports"), str(ROOT)])
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=150 * 2**20,
        _temp_dir=str(folder),
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "TOKENIZERS_PARALLELISM": "false"}},
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class OpenParts:
    """What an actor works with: the same database and storage, and an index and embedder that are served."""

    url: str
    storage_url: str
    socket: Path

    def __call__(self) -> AbstractAsyncContextManager[IngestParts]:
        return self._open()

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[IngestParts]:
        database = Database(create_engine(self.url, pool_size=2))
        yield IngestParts(
            database,
            open_storage(self.storage_url),
            RemoteEmbedder(Handle(self.socket, "embedder"), failures=(OSError,)),
            RemoteVectorIndex(Handle(self.socket, "index"), failures=(OSError,)),
            read_here,
            100,
        )
        await database.close()


@dataclass
class World:
    """An account, a folder of files, and what ingests them."""

    database: Database
    owner: UUID
    folder: Path
    parts: OpenParts
    index: EdgeIndex
    embedder: SlowEmbedder
    loop: asyncio.AbstractEventLoop

    def execute(self, order: Order, run: Run) -> Iterator[Ended]:
        return take(Plan(order, run, self.parts, self.parts))

    async def open(self, **values: Any) -> UUID:
        order = Order(str(self.folder), subject=Subject.BIOLOGY, **values)
        return (await open_run(self.database, self.owner, order)).id

    async def ingest(self, job_id: UUID) -> Job:
        lease = await library.begin(self.database, job_id)
        assert lease is not None
        await library.ingest_library(lease, self.execute, MAX_BYTES)
        return await self.job(job_id)

    async def job(self, job_id: UUID) -> Job:
        async with self.database.session(self.owner) as session:
            job = await jobs.get(session, job_id)
        assert job is not None
        return job

    async def all_jobs(self) -> list[Job]:
        async with self.database.session(self.owner) as session:
            return await jobs.list(session, limit=1000)

    def intake(self, worker: str, family: str = "", storage: FileStorage | None = None) -> Intake:
        run = Run(self.owner, family or worker, worker, Subject.BIOLOGY, MAX_BYTES)
        return Intake(self.database, storage or open_storage(self.parts.storage_url), run)

    def stages(self, *, queued: bool) -> Stages:
        unused: Any = None
        storage = open_storage(self.parts.storage_url)
        parts = IngestParts(self.database, storage, self.embedder, self.index, unused, 100)
        return Stages(parts, queued=queued)

    async def cancel(self, job_id: UUID) -> None:
        async with self.database.session(self.owner) as session:
            assert await jobs.cancel(session, job_id)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the loop of the test, from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def rows(self) -> dict[str, list[UUID]]:
        async with self.database.session(self.owner) as session:
            found = [one.document for one in await user_documents.list(session, limit=100)]
            assert {document.subject for document in found} <= {Subject.BIOLOGY}
            return {
                document.title: [
                    row.id for row in await document_chunks.list(session, document.id, limit=999)
                ]
                for document in found
            }

    async def points(self) -> list[UUID]:
        return [point.id for point in await self.index.scan(None, 10_000) if point.owner == self.owner]


@pytest.fixture
async def world(
    database: Database,
    postgres: Any,
    storage_url: str,
    tmp_path: Path,
    new_user: Callable[[], Awaitable[UUID]],
) -> AsyncIterator[World]:
    index, embedder = EdgeIndex(tmp_path / "vectors", "passages", 64), SlowEmbedder()
    folder, socket = tmp_path / "library", tmp_path / "parts"
    write_files(folder)
    parts = OpenParts(postgres.app_url, storage_url, socket)
    async with served(socket, index=index, embedder=embedder):
        loop = asyncio.get_running_loop()
        yield World(database, await new_user(), folder, parts, index, embedder, loop)
    await index.close()


def write_files(folder: Path) -> None:
    """Eleven files, of which two are the same and three cannot be read."""
    (folder / "more").mkdir(parents=True)
    for number in range(3):
        (folder / f"pdf-{number}.pdf").write_bytes(documents.pdf(repeat=5 + number))
        (folder / "more" / f"md-{number}.md").write_text(f"# Number {number}\n\n{documents.MARKDOWN}")
    (folder / "word.docx").write_bytes(documents.docx_file())
    (folder / "more" / "same.docx").write_bytes((folder / "word.docx").read_bytes())
    (folder / "encrypted.pdf").write_bytes(documents.encrypted_pdf())
    (folder / "no.exe").write_bytes(b"MZ")
    (folder / "large.txt").write_bytes(b"a" * (MAX_BYTES + 1))
    (folder / ".hidden.txt").write_text("not seen")


GOOD = {"pdf-0", "pdf-1", "pdf-2", "md-0", "md-1", "md-2"}


async def test_a_folder_becomes_documents_and_costs_nothing_again(cluster: None, world: World) -> None:
    job = await world.ingest(await world.open())
    assert (job.status, job.error_code) == (JobStatus.COMPLETED, None)
    result = dict(job.result or {})
    failures = {Path(one["file"]).name: one["code"] for one in result.pop("failures")}
    assert result == {"files": 11, "completed": 7, "skipped": 1, "failed": 3, "cancelled": 0}
    assert failures == {
        "encrypted.pdf": "pdf_encrypted",
        "no.exe": "unsupported_file_type",
        "large.txt": "file_too_large",
    }
    rows = await world.rows()
    word = {"word", "same"} & rows.keys()
    assert rows.keys() == GOOD | word | {"encrypted"}
    assert len(word) == 1
    ids = [chunk for chunks in rows.values() for chunk in chunks]
    assert sorted(await world.points()) == sorted(ids)
    assert all(rows[name] for name in GOOD | word)
    assert [one for one in await world.all_jobs() if one.finished_at is None] == []

    # A second run leaves its files where the first stage finds them.
    lease = await library.begin(world.database, await world.open())
    assert lease is not None
    reader = world.intake(lease.worker)
    rows_again = [await reader.take(file) for file in list_files(str(world.folder))]
    outcomes = Counter(row["outcome"] for row in rows_again if row["error"] is None)
    # The encrypted one is tried once more, and waits for the stages that follow.
    assert outcomes == {"skipped": 8, None: 1}


@pytest.mark.parametrize("in_memory_bytes", [10, 2**20])
async def test_a_new_file_is_read_once_and_stored_as_it_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    path, reads = world.folder / "pdf-0.pdf", Counter[str]()
    content = path.read_bytes()

    async def read_parts(uri: str) -> AsyncIterator[bytes]:
        reads[uri] += 1
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]
        path.write_bytes(b"something else by now")

    monkeypatch.setattr(intake, "read_parts", read_parts)
    monkeypatch.setattr(intake, "_IN_MEMORY_BYTES", in_memory_bytes)
    row = await world.intake("library:one:worker").take(File(uri=str(path), title=None, subject=None))
    assert (row["outcome"], reads) == (None, {str(path): 1})
    storage = open_storage(world.parts.storage_url)
    assert await storage.get(f"{world.owner}/{row['document_id']}/original") == content


@pytest.mark.parametrize("full", ["storage", "copies"])
async def test_a_full_disk_fails_the_file_and_another_run_reads_it(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: str
) -> None:
    path = world.folder / "large.txt"
    path.write_text("The cell divides. " * 20_000)
    file, stored = File(uri=str(path), title=None, subject=None), open_storage(world.parts.storage_url)
    with small_disk(tmp_path / "small") as folder, monkeypatch.context() as patch:
        patch.setattr(intake, "_IN_MEMORY_BYTES", 10)
        if full == "copies":
            patch.setattr(tempfile, "tempdir", str(folder))
        storage = stored if full == "copies" else open_storage(f"file://{folder}")
        row = await world.intake("library:one:worker", storage=storage).take(file)
        assert not [one for one in folder.rglob("*") if one.is_file()]
    assert (row["outcome"], row["document_id"]) == ("failed", None)
    assert row["error"] is not None
    assert row["error"]["code"] == "storage_full"
    assert ("TMPDIR" if full == "copies" else "make room") in row["error"]["reason"]
    assert await world.rows() == {}
    assert [key async for key in stored.keys(str(world.owner))] == []
    again = await world.intake("library:two:worker").take(file)
    assert (again["outcome"], again["error"]) == (None, None)


@pytest.mark.parametrize(
    ("uri", "subject", "code"),
    [("s3:///a.pdf", None, "file_unreadable"), ("pdf-0.pdf", "alchemy", "unknown_subject")],
)
async def test_an_entry_that_is_wrong_fails_alone(
    world: World, uri: str, subject: str | None, code: str
) -> None:
    row = await world.intake("library:one:worker").take(File(uri=uri, title=None, subject=subject))
    assert (row["outcome"], (row["error"] or {})["code"]) == ("failed", code)


async def test_what_a_dead_run_left_is_taken_over_and_what_others_read_is_left_to_them(world: World) -> None:
    order = await world.open()
    one, other, third = (
        File(uri=str(world.folder / name), title=None, subject=None)
        for name in ("pdf-0.pdf", "pdf-1.pdf", "more/md-0.md")
    )
    family = f"library:{order}:"
    dead = world.intake(f"{family}dead", family)
    left = await dead.take(one)
    assert (left["outcome"], left["attempts"]) == (None, 1)
    assert await dead.take(one) == left, "Ray Data may ask twice"

    alive = world.intake(f"{family}alive", family)
    taken = await alive.take(one)
    assert (taken["job_id"], taken["attempts"], taken["outcome"]) == (left["job_id"], 2, None)
    assert (await world.stages(queued=False).parse(left))[0]["outcome"] == "lost"

    stranger = world.intake("library:another:worker", "library:another:")
    assert (await stranger.take(one))["outcome"] == "queued"

    # What is handed to the queue is no longer of any run.
    await dead.take(other)
    async with world.database.session(world.owner) as session:
        (held,) = await jobs.held_by(session, f"{family}dead")
    assert await jobs.requeue(world.database, held.id, world.owner)
    assert (await alive.take(other))["outcome"] == "queued"

    # The last of too many attempts fails the document.
    row = await dead.take(third)
    for attempt in range(2, INGEST_ATTEMPTS + 1):
        row = await world.intake(f"{family}{attempt}", family).take(third)
        assert (row["outcome"], row["attempts"]) == (None, attempt)
    row = await world.intake(f"{family}last", family).take(third)
    assert (row["outcome"], (row["error"] or {})["code"]) == ("failed", "worker_lost")


async def test_a_cancelled_run_ends_and_leaves_its_documents_to_the_queue(world: World) -> None:
    job_id = await world.open()
    lease = await library.begin(world.database, job_id)
    assert lease is not None

    def execute(order: Order, run: Run) -> Iterator[Ended]:
        reader = world.intake(run.worker, run.family)
        row = world.do(reader.take(next(list_files(order.source))))
        assert row["outcome"] is None
        world.do(world.cancel(job_id))
        while True:
            time.sleep(0.05)
            yield Ended(uri="", document_id=None, outcome="skipped", error=None)

    async with asyncio.timeout(20):
        assert await library.ingest_library(lease, execute, MAX_BYTES) is None
    statuses = {job.id: job.status for job in await world.all_jobs()}
    assert statuses.pop(job_id) == JobStatus.CANCELLED
    assert [*statuses.values()] == [JobStatus.QUEUED]


async def test_documents_that_go_to_the_queue_are_waited_for(world: World) -> None:
    job_id = await world.open()
    lease = await library.begin(world.database, job_id)
    assert lease is not None
    given: list[Ended] = []

    def execute(order: Order, run: Run) -> Iterator[Ended]:
        row = world.do(world.intake(run.worker, run.family).take(next(list_files(order.source))))
        ended = Ended(uri=row["uri"], document_id=row["document_id"], outcome="queued", error=None)
        given.append(ended)
        yield ended

    work = asyncio.create_task(library.ingest_library(lease, execute, MAX_BYTES))
    async with asyncio.timeout(20):
        while (await world.job(job_id)).stage != "waiting":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        (row,) = given
        async with world.database.session(world.owner) as session:
            await user_documents.set_status(
                session,
                UUID(row["document_id"]),
                EmbeddingStatus.FAILED,
                error_code="no_text",
                error_reason="None.",
            )
        assert await work == JobStatus.COMPLETED
    result = (await world.job(job_id)).result
    assert result is not None
    assert (result["failed"], result["failures"][0]["code"]) == (1, "no_text")


async def test_a_lost_program_is_said(world: World) -> None:
    job_id = await world.open()
    lease = await library.begin(world.database, job_id)
    assert lease is not None
    assert await library.fail_lost(lease) == JobStatus.FAILED
    assert (await world.job(job_id)).error_code == "program_lost"
    assert await library.begin(world.database, job_id) is None

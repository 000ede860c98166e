"""Workers that are killed again and again while files go in: nothing is lost, doubled or stuck.

LM_TEST_KILLED_FILES=200 does what the small run does with so many files, and five seconds between kills.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.user_documents import FileType
from little_monster.db.repositories import document_chunks, jobs, pending_chunks, user_documents
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.pipelines import ingest
from little_monster.platform.services.documents import INGEST_ATTEMPTS
from little_monster.platform.storage import FileStorage, open_storage
from tests.fixtures import documents
from tests.fixtures.parts_server import SlowEmbedder, served
from tests.fixtures.uploads import upload

FILES = int(os.environ.get("LM_TEST_KILLED_FILES", "40"))
FULL = FILES >= 200
PAUSE_S, SILENCE_S, DELAY_S = (5.0, 15.0, 0.7) if FULL else (1.0, 2.0, 0.4)
# On a busy machine a worker does little between two kills: then they must not use up what a job has.
ATTEMPTS = INGEST_ATTEMPTS if FULL else 100
LEAST_KILLS, MOST_KILLS = 10, inf if FULL else 14
LONGEST_STILL_S = 60.0
BAD = {"bad-encrypted", "bad-truncated"}

_WORDS = documents.MARKDOWN.split()


def mixed_files(count: int) -> dict[str, tuple[bytes, FileType]]:
    """Small files of all kinds, two that cannot be read, and some of several batches."""
    made = {
        "bad-encrypted": (documents.encrypted_pdf(), FileType.PDF),
        "bad-truncated": (documents.truncated_pdf(), FileType.PDF),
    }
    kinds: tuple[Callable[[int], tuple[bytes, FileType]], ...] = (_pdf, _docx, _markdown, _text)
    for number in range(count - len(made)):
        made[f"file-{number}"] = kinds[number % len(kinds)](number)
    return made


def _pdf(number: int) -> tuple[bytes, FileType]:
    return documents.pdf(repeat=4 + number % 7), FileType.PDF


def _docx(number: int) -> tuple[bytes, FileType]:
    return documents.docx_file(), FileType.DOCX


def _markdown(number: int) -> tuple[bytes, FileType]:
    return f"# Number {number}\n\n{documents.MARKDOWN}".encode(), FileType.MARKDOWN


def _text(number: int) -> tuple[bytes, FileType]:
    random.seed(number)
    # Some have several batches of passages.
    paragraphs = 120 if number % 16 == 3 else 5
    lines = [" ".join(random.choices(_WORDS, k=90)) + "." for _ in range(paragraphs)]
    return "\n\n".join(lines).encode(), FileType.TXT


class Library:
    """An account whose files are ingested."""

    def __init__(self, database: Database, storage: FileStorage, user_id: UUID) -> None:
        self.database, self.storage, self.user_id = database, storage, user_id

    async def add(self, files: dict[str, tuple[bytes, FileType]]) -> None:
        for title, (content, file_type) in files.items():
            await upload(
                self.database,
                self.storage,
                self.user_id,
                content,
                file_type,
                title=title,
                max_attempts=ATTEMPTS,
            )

    async def jobs(self) -> list[Job]:
        async with self.database.session(self.user_id) as session:
            return await jobs.list(session, limit=1000)

    async def passages(self) -> dict[str, tuple[str, list[str]]]:
        """Return of each file how it ended, and the hashes of its passages."""
        found = {}
        async with self.database.session(self.user_id) as session:
            for listed in await user_documents.list(session, limit=1000):
                document = listed.document
                chunks = await document_chunks.list(session, document.id, limit=100_000)
                assert document.chunk_count == len(chunks)
                how = f"{document.embedding_status} {document.error_code}"
                found[document.title] = (how, [chunk.content_hash for chunk in chunks])
        return found

    async def rows(self) -> set[UUID]:
        """Return the ids of all passages, and check that none waits."""
        found: set[UUID] = set()
        async with self.database.session(self.user_id) as session:
            for listed in await user_documents.list(session, limit=1000):
                chunks = await document_chunks.list(session, listed.document.id, limit=100_000)
                found |= {chunk.id for chunk in chunks}
                assert await pending_chunks.ids(session, listed.document.id) == []
        return found


class Workers:
    """One worker at a time, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = 0

    async def start(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"one\n")
        self.pid = int(await self._process.stdout.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def workers(*arguments: object) -> AsyncIterator[Workers]:
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.fixtures.ingest_worker", *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    assert process.stdout is not None
    crew = Workers(process)
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n"
        yield crew
    finally:
        with contextlib.suppress(ProcessLookupError):
            if crew.pid:
                crew.kill()
        process.kill()
        await process.wait()


async def until_ended(
    library: Library, timeout_s: float, tick: Callable[[list[Job]], Awaitable[None]]
) -> None:
    """Return when no job is left, calling `tick` with those that are left."""
    async with asyncio.timeout(timeout_s):
        while left := [job for job in await library.jobs() if job.finished_at is None]:
            await tick(left)
            await asyncio.sleep(0.1)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[EdgeIndex]:
    index = EdgeIndex(tmp_path / "vectors", "passages", 64)
    yield index
    await index.close()


async def ids_of(index: EdgeIndex) -> list[UUID]:
    found: list[UUID] = []
    while page := await index.scan(found[-1] if found else None, 500):
        found += [point.id for point in page]
    return found


async def test_killed_workers_lose_and_double_nothing(
    database: Database,
    postgres: Any,
    storage_url: str,
    tmp_path: Path,
    index: EdgeIndex,
    new_user: Callable[[], Awaitable[UUID]],
) -> None:
    files, storage = mixed_files(FILES), open_storage(storage_url)
    steady = Library(database, storage, await new_user())
    killed = Library(database, storage, await new_user())
    embedder, socket = SlowEmbedder(), tmp_path / "parts"
    kills, still_s, at = 0, 0.0, asyncio.get_running_loop().time

    async def nothing(_: list[Job]) -> None: ...

    async with (
        served(socket, index=index, embedder=embedder),
        workers(postgres.app_url, storage_url, socket, SILENCE_S) as crew,
    ):
        await crew.start()
        await steady.add(files)
        await until_ended(steady, 60 + FILES, nothing)
        texts, begun_at = sum(len(call[0]) for call in embedder.calls), at()

        embedder.delay_s = DELAY_S
        await killed.add(files)
        # From its first sign of life on, so that on a busy machine each worker has the same time.
        started, due = datetime.now(UTC), inf

        async def kill(left: list[Job]) -> None:
            nonlocal kills, still_s, started, due
            begun = [job.updated_at for job in left if job.attempts]
            still_s = max([still_s, *((datetime.now(UTC) - touched).total_seconds() for touched in begun)])
            if due == inf and any(touched > started for touched in begun):
                due = at() + PAUSE_S
            if at() >= due and kills < MOST_KILLS:
                crew.kill()
                kills, started, due = kills + 1, datetime.now(UTC), inf
                await crew.start()

        await until_ended(killed, 120 + 4 * FILES, kill)

    found = await killed.passages()
    assert found == await steady.passages()
    assert {name for name, (how, _) in found.items() if not how.startswith("completed")} == BAD
    points = await ids_of(index)
    assert len(points) == len({*points})
    assert {*points} == await killed.rows() | await steady.rows()
    again = sum(len(call[0]) for call in embedder.calls) - 2 * texts
    took_s = round(at() - begun_at)
    print(f"{FILES} files, {kills} kills in {took_s} s, {again} of {texts} texts embedded again")
    print(f"longest without a word of a job that was begun: {still_s:.1f} s")
    assert kills >= LEAST_KILLS
    assert still_s < LONGEST_STILL_S
    assert again <= kills * 2 * ingest.BATCH
    assert {job.status for job in await killed.jobs()} == {JobStatus.COMPLETED, JobStatus.FAILED}

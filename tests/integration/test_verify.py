"""What differs between database, index and storage is counted, and mended where that is asked for."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import jobs, user_documents
from little_monster.db.vectors.index import Point
from little_monster.pipelines import verify
from little_monster.pipelines.leases import Lease
from little_monster.pipelines.reconcile import ReconcileParts
from little_monster.pipelines.verify import Report
from tests.fixtures.shelves import Ground, House, open_ground, open_house

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

TEXT = "Cells make energy.\n\nPlants absorb light.\n\nKings ruled France."
EAST = [1.0] + [0.0] * 63


@pytest.fixture(scope="module")
async def ground(postgres: Any) -> AsyncIterator[Ground]:
    async with open_ground(postgres) as ground:
        yield ground


@pytest.fixture(params=["edge", "server"])
async def house(ground: Ground, tmp_path: Path, request: Any) -> AsyncIterator[House]:
    async with open_house(ground, tmp_path, kind=request.param) as house:
        yield house


@pytest.fixture
async def edge_house(ground: Ground, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(ground, tmp_path) as house:
        yield house


async def check(house: House, *, repair: bool = False) -> Report:
    parts = ReconcileParts(house.database, house.storage, house.shelf, timedelta())
    return await verify.verify(parts, repair=repair)


def file_of(house: House, key: str) -> Path:
    return Path(house.storage.description) / key


def grow_old(house: House) -> None:
    """Make all files as old as those that nobody is uploading any more."""
    for path in Path(house.storage.description).rglob("*"):
        os.utime(path, (time() - 3600, time() - 3600))


async def put(house: House, key: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"content"

    await house.storage.put(key, content())


async def test_what_is_as_it_should_be_differs_in_nothing(house: House) -> None:
    ada, eve = await house.user(), await house.user()
    for user in (ada, eve):
        await house.add(user, TEXT)
    grow_old(house)
    # What waits to be done is no drift yet.
    assert await check(house) == Report(documents=2, passages=6, points=6, files=2)
    await house.reconcile()
    assert (await check(house)).drift == 0


async def test_each_kind_of_drift_is_counted_and_mended(house: House) -> None:
    user, other = await house.user(), await house.user()
    kept, robbed, lost = [await house.add(user, TEXT, title) for title in ("Kept", "Robbed", "Lost")]
    await house.reconcile()
    index = (await house.shelf.live()).index
    # Passages without points, points without passages, and one that names another owner.
    await index.delete_document(user, robbed)
    orphans = [Point(uuid4(), other, uuid4(), EAST), Point(uuid4(), user, kept, EAST)]
    await index.upsert(orphans)
    chunk = await house.owner.fetchval("SELECT id FROM document_chunks WHERE document_id = $1 LIMIT 1", kept)
    await index.upsert([Point(UUID(int=chunk.int), other, kept, EAST)])
    # Files without rows, of a document and of an export, and a row without its file.
    await put(house, f"{user}/{uuid4()}/original")
    await put(house, f"{user}/exports/{uuid4()}.zip")
    await put(house, ".check")
    await house.storage.delete(f"{user}/{lost}/original")
    grow_old(house)
    found = Report(
        documents=3,
        passages=9,
        points=8,
        files=5,
        points_without_passage=2,
        passages_without_point=3,
        points_of_another_owner=1,
        files_without_row=2,
        rows_without_file=1,
    )
    assert await check(house) == found
    # To look changes nothing.
    assert await check(house) == found
    assert (await check(house, repair=True)).drift == 9
    assert await check(house) == Report(documents=3, passages=9, points=9, files=3, rows_without_file=1)
    assert await house.points(user) == {"passages": 9}
    assert await house.points(other) == {"passages": 0}
    assert {one.document_id for one in await house.search(user, "cells energy", 9)} == {kept, robbed, lost}


async def test_a_file_that_is_being_uploaded_is_left_alone(edge_house: House) -> None:
    await put(edge_house, f"{await edge_house.user()}/{uuid4()}/original")
    assert await check(edge_house, repair=True) == Report(files=1, repaired=True)
    grow_old(edge_house)
    assert (await check(edge_house, repair=True)).files_without_row == 1
    assert (await check(edge_house)).files == 0


async def test_what_is_being_read_is_no_drift(edge_house: House) -> None:
    """Its points are written before its rows."""
    house = edge_house
    user = await house.user()
    document = await house.add(user, TEXT)
    await house.reconcile()
    async with house.database.session(user) as session:
        await user_documents.set_status(session, document, EmbeddingStatus.PROCESSING)
    index = (await house.shelf.live()).index
    await index.delete_document(user, document)
    await index.upsert([Point(uuid4(), user, document, EAST)])
    assert (await check(house, repair=True)).drift == 0
    assert await house.points(user) == {"passages": 1}


async def test_a_change_that_is_not_made_is_overdue(edge_house: House) -> None:
    house = edge_house
    user = await house.user()
    document = await house.add(user, TEXT)
    await house.reconcile()
    await house.delete(document)
    assert (await check(house)).drift == 0
    await house.owner.execute("UPDATE index_outbox SET created_at = now() - interval '61 s', attempts = 4")
    assert (await check(house)).overdue_changes == 1


async def test_more_than_a_page_of_each(edge_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("little_monster.pipelines.drift.PAGE", 7)
    monkeypatch.setattr("little_monster.pipelines.verify._PAGE", 2)
    house = edge_house
    user = await house.user()
    documents = [await house.add(user, TEXT) for _ in range(9)]
    await house.reconcile()
    index = (await house.shelf.live()).index
    for document in documents[::2]:
        await index.delete_document(user, document)
    await index.upsert([Point(uuid4(), user, uuid4(), EAST) for _ in range(20)])
    found = await check(house, repair=True)
    assert (found.passages_without_point, found.points_without_passage) == (15, 20)
    assert (found.documents, found.passages, found.points) == (9, 27, 32)
    assert (await check(house)).drift == 0


async def test_workers_mend_what_they_find_by_themselves(edge_house: House) -> None:
    house = edge_house
    user = await house.user()
    await house.add(user, TEXT)
    await house.reconcile()
    index = (await house.shelf.live()).index
    await index.upsert([Point(uuid4(), user, uuid4(), EAST)])
    parts = ReconcileParts(house.database, house.storage, house.shelf, timedelta())
    assert (await verify.watch(parts)).points_without_passage == 1
    assert (await verify.watch(parts)).drift == 0
    assert await house.points(user) == {"passages": 3}


async def test_a_job_tells_what_it_found(edge_house: House) -> None:
    house = edge_house
    admin = await house.user()
    index = (await house.shelf.live()).index
    await index.upsert([Point(uuid4(), admin, uuid4(), EAST)])
    async with house.database.session(admin) as session:
        job = await jobs.create(session, user_id=admin, kind=verify.KIND, payload={"repair": True})
    async with house.database.session(None) as session:
        claimed = await jobs.begin(session, job.id, worker="worker")
    assert claimed is not None
    parts = ReconcileParts(house.database, house.storage, house.shelf)
    assert await verify.run_job(Lease(house.database, claimed, "worker"), parts) == JobStatus.COMPLETED
    async with house.database.session(admin) as session:
        done = await jobs.get(session, job.id)
    assert done is not None
    assert done.result is not None
    assert (done.result["drift"], done.result["points_without_passage"], done.result["points"]) == (1, 1, 1)
    assert (await check(house)).points == 0

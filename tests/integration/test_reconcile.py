"""What was deleted leaves nothing in index and storage, whatever was away or still writing meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, text

from little_monster.db.engine import create_engine
from little_monster.db.errors import IndexUnavailable, StatementTimeout
from little_monster.db.models.embedding_collections import CollectionState
from little_monster.db.models.user_documents import UserDocument
from little_monster.db.repositories import embedding_collections, user_documents, users
from little_monster.db.repositories.embedding_collections import NewCollection
from little_monster.db.repositories.rows import change
from little_monster.db.session import Database
from little_monster.db.vectors.collections import EdgeCollections
from little_monster.db.vectors.index import Point, Query, SearchFilter, VectorIndex
from little_monster.pipelines.reconcile import ReconcileParts, reconcile
from little_monster.platform.engines.fakes import TOKENIZER
from little_monster.platform.errors import NotFound
from tests.fixtures.shelves import Ground, House, open_ground, open_house

TEXT = "Cells make energy.\n\nPlants absorb light.\n\nKings ruled France."

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


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


async def there(house: House, user: UUID, document: UUID) -> bool:
    """Say whether the storage has the document's file."""
    try:
        await house.storage.get(f"{user}/{document}/original")
    except NotFound:
        return False
    return True


async def test_a_deleted_document_leaves_nothing_and_others_stay(house: House) -> None:
    ada, eve = await house.user(), await house.user()
    gone, kept, theirs = [await house.add(user, TEXT) for user in (ada, ada, eve)]
    await house.reconcile()
    await house.delete(gone)
    assert {one.document_id for one in await house.search(ada, "cells energy", 10)} == {kept}
    assert await house.reconcile() == 1
    assert await house.waiting() == 0
    assert await house.points(ada, gone) == {"passages": 0}
    assert await house.points(ada, kept) == await house.points(eve, theirs) == {"passages": 3}
    assert [await there(house, *one) for one in ((ada, gone), (ada, kept), (eve, theirs))] == [
        False,
        True,
        True,
    ]


async def test_a_deleted_account_leaves_nothing(edge_house: House) -> None:
    house = edge_house
    ada, eve = await house.user(), await house.user()
    documents = [await house.add(ada, TEXT) for _ in range(3)]
    kept = await house.add(eve, TEXT)
    await house.reconcile()
    await house.owner.execute("DELETE FROM users WHERE id = $1", ada)
    # One note for the account, and none for each of its documents.
    assert await house.waiting() == 1
    assert await house.reconcile() == 1
    assert (await house.waiting(), await house.points(ada)) == (0, {"passages": 0})
    assert not any([await there(house, ada, document) for document in documents])
    assert await there(house, eve, kept)
    assert await house.points(eve) == {"passages": 3}


MANY = """
    INSERT INTO document_chunks
        (id, user_id, document_id, chunk_index, content, content_hash, token_count, start_offset, end_offset)
    SELECT gen_random_uuid(), $1, $2, g, 'A passage.', '', 3, g, g FROM generate_series(10, $3 + 9) g
"""


@pytest.mark.parametrize("what", ["document", "account"])
async def test_what_is_very_large_is_deleted_whatever_the_limit_of_a_statement(
    ground: Ground, edge_house: House, what: str
) -> None:
    user, count = await edge_house.user(), 150_000
    document = await edge_house.add(user, TEXT)
    await edge_house.owner.execute(MANY, user, document, count)
    hasty = Database(create_engine(ground.url, pool_size=1, statement_timeout_ms=100))
    with pytest.raises(StatementTimeout):
        async with hasty.session(user) as session:
            await session.execute(delete(UserDocument).where(UserDocument.id == document))
    async with hasty.session(user) as session:
        if what == "document":
            assert await user_documents.delete(session, document)
        else:
            assert await users.delete(session, user)
    # Others have their limit again.
    async with hasty.session(user) as session:
        assert await session.scalar(text("SHOW statement_timeout")) == "100ms"
    await hasty.close()
    left = "SELECT count(*) FROM document_chunks WHERE user_id = $1"
    assert await edge_house.owner.fetchval(left, user) == 0


async def test_a_deletion_that_is_rolled_back_notes_nothing(edge_house: House) -> None:
    document = await edge_house.add(await edge_house.user(), TEXT)
    await edge_house.reconcile()
    transaction = edge_house.owner.transaction()
    await transaction.start()
    await edge_house.delete(document)
    assert await edge_house.waiting() == 1
    await transaction.rollback()
    assert await edge_house.waiting() == 0


class _Away(EdgeCollections):
    """Collections of an index that does not answer."""

    def open(self, name: str, dimension: int) -> Any:
        raise IndexUnavailable("away")


@pytest.mark.parametrize("what", ["document", "account"])
async def test_what_is_deleted_while_the_index_is_away_goes_when_it_is_back(
    edge_house: House, tmp_path: Path, what: str
) -> None:
    house = edge_house
    user = await house.user()
    document = await house.add(user, TEXT)
    await house.reconcile()
    working, house.collections = house.collections, _Away(tmp_path / "away")
    if what == "document":
        await house.delete(document)
    else:
        await house.owner.execute("DELETE FROM users WHERE id = $1", user)
    for _ in range(8):
        assert await house.reconcile() == 0
    # However long it was away, the next try is soon.
    pause = await house.owner.fetchval("SELECT max(next_at - now()) FROM index_outbox")
    assert 0 < pause.total_seconds() <= 15
    house.collections = working
    assert await house.points(user) == {"passages": 3}
    assert await house.reconcile() == 1
    assert (await house.points(user), await house.waiting()) == ({"passages": 0}, 0)
    assert not await there(house, user, document)


async def test_points_written_after_a_deletion_go_too(edge_house: House) -> None:
    """A worker that was killed after its last write, or one whose write was on its way."""
    house = edge_house
    user = await house.user()
    document = await house.add(user, TEXT)
    live = await house.shelf.live()
    await house.reconcile()
    (one, *_) = await live.index.search(user, Query([1.0] + [0.0] * 63), limit=1)
    await house.delete(document)
    assert await house.reconcile(watched_s=60) == 1
    assert await house.points(user) == {"passages": 0}
    await live.index.upsert([Point(one.id, user, document, [1.0] + [0.0] * 63)])
    assert await house.points(user) == {"passages": 1}
    # It is deleted once more when nobody writes any longer.
    age = await house.owner.fetchval("SELECT next_at - created_at FROM index_outbox")
    assert age.total_seconds() == 60
    assert await house.reconcile(watched_s=60) == 1
    assert (await house.points(user), await house.waiting()) == ({"passages": 0}, 1)
    assert await house.reconcile(watched_s=0) == 1
    assert await house.waiting() == 0


async def test_a_document_that_a_backup_brought_back_stays(edge_house: House) -> None:
    house = edge_house
    user = await house.user()
    document = await house.add(user, TEXT)
    await house.reconcile()
    note = "INSERT INTO index_outbox (kind, user_id, document_id) VALUES ($1, $2, $3)"
    await house.owner.execute(note, "delete_document", user, document)
    await house.owner.execute(note, "delete_owner", user, None)
    await house.reconcile()
    assert await house.points(user) == {"passages": 3}
    assert await there(house, user, document)


async def test_each_change_is_made_by_one_of_many(edge_house: House) -> None:
    house = edge_house
    user = await house.user()
    documents = [await house.add(user, "One.") for _ in range(30)]
    await house.reconcile()
    for document in documents:
        await house.delete(document)
    parts = ReconcileParts(house.database, house.storage, house.shelf, timedelta())
    made = await asyncio.gather(*(reconcile(parts, batch=4) for _ in range(4)))
    assert sum(made) == 30
    assert (await house.points(user), await house.waiting()) == ({"passages": 0}, 0)


async def test_another_subject_reaches_the_index(house: House) -> None:
    user = await house.user()
    document = await house.add(user, TEXT)
    async with house.database.session(user) as session:
        row = await user_documents.lock(session, document)
        assert row is not None
        await change(session, row, {"subject": "physics"})
    await house.reconcile()
    live = await house.shelf.live()
    [vector] = await house.embedder.embed(["cells"])
    found = await live.index.search(user, Query(vector), limit=9, where=SearchFilter(subjects=("physics",)))
    assert len(found) == 3


async def test_what_is_read_reaches_every_collection(edge_house: House) -> None:
    house = edge_house
    user = await house.user()
    await house.shelf.live()
    new = NewCollection("passages-2", "other", TOKENIZER, 64, 256)
    async with house.database.session(None) as session:
        assert await embedding_collections.add(session, new, CollectionState.BUILDING)
    document = await house.add(user, TEXT)
    assert await house.points(user) == {"passages": 3, "passages-2": 0}
    await house.reconcile()
    assert await house.points(user) == {"passages": 3, "passages-2": 3}
    await house.delete(document)
    await house.reconcile()
    assert await house.points(user) == {"passages": 0, "passages-2": 0}


async def test_missing_points_of_the_live_collection_are_written(edge_house: House) -> None:
    """A job that began under the model before, and ended when another was live."""
    house = edge_house
    user = await house.user()
    document = await house.add(user, TEXT)
    index: VectorIndex = (await house.shelf.live()).index
    await index.delete_document(user, document)
    assert await house.search(user, "cells energy") == []
    await house.reconcile()
    assert await house.points(user, document) == {"passages": 3}
    assert (await house.search(user, "cells energy"))[0].content == "Cells make energy."

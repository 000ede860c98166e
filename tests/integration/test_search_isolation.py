"""Fifty tenants with the same text and a secret phrase each: nobody's search shows anything of another's.

`LM_TEST_TENANT_SEARCHES` sets the number of searches (250; 5,000 in a release's run).
"""

import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_edge import Filter

from little_monster.db.session import Database
from little_monster.db.vectors import edge, server
from little_monster.db.vectors.index import EVERYTHING, Point, Query, SearchFilter, VectorIndex
from little_monster.platform.engines import bm25
from little_monster.platform.engines.fakes import DIMENSION, FakeEmbedder
from tests.fixtures.library import Library

TENANTS = 50
SEARCHES = int(os.environ.get("LM_TEST_TENANT_SEARCHES", "250"))
TEXT = "Cells make energy in mitochondria.\n\nPlants absorb light with chlorophyll.\n\nKings ruled France."

Tenants = dict[UUID, tuple[UUID, str]]
"""By owner: their document, and the phrase that only they have."""

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


@pytest.fixture(params=["edge", "server"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorIndex]:
    index: VectorIndex = edge.EdgeIndex(tmp_path, "passages", DIMENSION)
    if request.param == "server":
        index = server.QdrantIndex(AsyncQdrantClient(":memory:"), collection="passages", dimension=DIMENSION)
    yield index
    await index.close()


_SUBJECT = {"subject": "biology"}


def _canary(number: int) -> str:
    return f"zyx{number}qv"


async def _fill(index: VectorIndex) -> Tenants:
    """Give every tenant the same passages and one with a phrase of theirs; return their document and it."""
    embedder, tenants = FakeEmbedder(), {}
    for number in range(TENANTS):
        owner, document, phrase = uuid4(), uuid4(), f"The secret phrase is {_canary(number)}."
        texts = [*TEXT.split("\n\n"), phrase]
        vectors = await embedder.embed(texts)
        await index.upsert(
            [
                Point(
                    uuid4(), owner, document, vector, bm25.encode(text), {"text": text, "subject": "biology"}
                )
                for text, vector in zip(texts, vectors, strict=True)
            ]
        )
        tenants[owner] = document, phrase
    return tenants


async def _search_as_all(index: VectorIndex, tenants: Tenants, searches: int) -> None:
    """Search for own and others' phrases, with and without filters; fail where others' things are found."""
    chance, owners, embedder = random.Random(7), [*tenants], FakeEmbedder()
    for number in range(searches):
        owner, other = owners[number % TENANTS], chance.choice(owners)
        text = chance.choice([tenants[other][1], tenants[owner][1], "energy of cells", "secret phrase"])
        [vector] = await embedder.embed([text])
        where = chance.choice(
            [EVERYTHING, SearchFilter((tenants[other][0],)), SearchFilter(subjects=("biology",))]
        )
        query = chance.choice(
            [Query(vector), Query(sparse=bm25.encode_query(text)), Query(vector, bm25.encode_query(text))]
        )
        hits = await index.search(owner, query, limit=100, where=where)
        document, phrase = tenants[owner]
        assert {hit.document_id for hit in hits} <= {document}
        assert {hit.payload["text"] for hit in hits} <= {*TEXT.split("\n\n"), phrase}
        if document in (where.document_ids or (document,)):
            assert hits, "what is one's own is found"


async def test_nobody_finds_anything_of_another_tenant(index: VectorIndex) -> None:
    await _search_as_all(index, await _fill(index), SEARCHES)


def _edge_without_owner(owner: UUID, where: SearchFilter = EVERYTHING) -> Filter:
    found = _EDGE(owner, where)
    return Filter(must=[one for one in found.must or [] if one.key != "user_id"])


def _server_without_owner(owner: UUID, where: SearchFilter = EVERYTHING) -> models.Filter:
    found = _SERVER(owner, where)
    return models.Filter(must=[one for one in found.must if one.key != "user_id"])


_EDGE, _SERVER = edge._of, server._of


@pytest.mark.parametrize(
    ("module", "mutant"),
    [(edge, _edge_without_owner), (server, _server_without_owner)],
    ids=["edge", "server"],
)
@pytest.mark.parametrize("index", ["edge", "server"], indirect=True)
async def test_without_the_filter_of_tenants_the_check_fails(
    index: VectorIndex, module: ModuleType, mutant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above is worth something: it sees a filter that lacks the owner, in either adapter."""
    tenants = await _fill(index)
    monkeypatch.setattr(module, "_of", mutant)
    if isinstance(index, edge.EdgeIndex) is (module is edge):
        with pytest.raises(AssertionError):
            await _search_as_all(index, tenants, 50)
    else:
        await _search_as_all(index, tenants, 50)


async def test_even_then_rows_show_nothing_of_another(
    index: VectorIndex, database: Database, new_user: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row level security is the second wall: without the filter in the index a search still shows nothing."""
    mine, theirs = [await new_user() for _ in range(2)]  # type: ignore[operator]
    library = Library(database, index, FakeEmbedder())
    await library.add(theirs, "Theirs", TEXT)
    own = await library.add(mine, "Mine", "Mitochondria again.")
    monkeypatch.setattr(edge, "_of", _edge_without_owner)
    monkeypatch.setattr(server, "_of", _server_without_owner)
    found: Sequence = await library.search(mine, "mitochondria", limit=10)
    assert {passage.document_id for passage in found} == {own}

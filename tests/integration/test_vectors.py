"""One contract for both vector indexes: Qdrant Edge on disk, and the server's adapter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import qdrant_edge
from qdrant_client import AsyncQdrantClient, models

from little_monster.db.errors import DimensionMismatch, IncompatibleIndex, IndexUnavailable
from little_monster.db.vectors.connection import Server
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import Point, Query, SearchFilter, SparseVector, VectorIndex
from little_monster.db.vectors.server import QdrantIndex
from little_monster.db.vectors.stored import StoredPoint

EAST, NORTH, NORTH_EAST = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.6, 0.8, 0.0, 0.0]

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


class _Maker:
    """Makes indexes over one and the same storage."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.client = AsyncQdrantClient(":memory:")

    def __call__(self, dimension: int = 4) -> VectorIndex:
        if self.kind == "edge":
            return EdgeIndex(self.folder, collection="passages", dimension=dimension)
        return QdrantIndex(self.client, collection="passages", dimension=dimension)

    async def make_dense_only(self) -> None:
        """Make the collection as it was before terms were searched."""
        if self.kind == "edge":
            vectors = qdrant_edge.EdgeVectorParams(size=4, distance=qdrant_edge.Distance.Cosine)
            folder = self.folder / "passages"
            folder.mkdir()
            shard = qdrant_edge.EdgeShard.create(str(folder), qdrant_edge.EdgeConfig(vectors=vectors))
            shard.close()
        else:
            params = models.VectorParams(size=4, distance=models.Distance.COSINE)
            await self.client.create_collection("passages", vectors_config=params)


@pytest.fixture(params=["edge", "server"])
def make_index(request, tmp_path):
    return _Maker(request.param, tmp_path)


@pytest.fixture
async def index(make_index):
    index = make_index()
    yield index
    await index.close()


def point(owner: UUID, document_id: UUID, vector: list[float], **payload: object) -> Point:
    return Point(uuid4(), owner, document_id, vector, payload=payload)


async def test_the_nearest_comes_first_with_its_payload(index):
    owner, document = uuid4(), uuid4()
    near = point(owner, document, NORTH_EAST, chunk_index=7, page=None)
    await index.upsert([point(owner, document, EAST, chunk_index=1, page=3), near])
    hits = await index.search(owner, Query(NORTH), limit=5)
    assert [hit.payload["chunk_index"] for hit in hits] == [7, 1]
    assert (hits[0].id, hits[0].document_id) == (near.id, document)
    assert hits[0].payload == {"chunk_index": 7, "page": None}
    assert [round(hit.score, 5) for hit in hits] == [0.8, 0.0]


async def test_an_owner_finds_and_counts_nobody_elses_points(index):
    owner, other, document = uuid4(), uuid4(), uuid4()
    mine = point(owner, document, EAST)
    await index.upsert([mine, point(other, uuid4(), EAST), point(other, document, EAST)])
    assert [hit.id for hit in await index.search(owner, Query(EAST), limit=10)] == [mine.id]
    assert await index.search(uuid4(), Query(EAST), limit=10) == []
    assert (await index.count(owner), await index.count(other), await index.count(uuid4())) == (1, 2, 0)


async def test_deleting_an_owner_leaves_everybody_else(index):
    owner, other = uuid4(), uuid4()
    await index.upsert(
        [point(owner, uuid4(), EAST), point(owner, uuid4(), NORTH), point(other, uuid4(), EAST)]
    )
    await index.delete_owner(owner)
    await index.delete_owner(owner)
    assert (await index.count(owner), await index.count(other)) == (0, 1)


async def test_naming_another_owners_document_finds_nothing(index):
    owner, theirs = uuid4(), uuid4()
    await index.upsert([point(uuid4(), theirs, EAST)])
    assert await index.search(owner, Query(EAST), limit=10, where=SearchFilter((theirs,))) == []
    assert await index.count(owner, theirs) == 0


async def test_an_owner_in_the_payload_changes_nothing(index):
    owner, other = uuid4(), uuid4()
    await index.upsert([point(owner, uuid4(), EAST, user_id=str(other))])
    assert await index.count(other) == 0
    assert await index.count(owner) == 1


async def test_search_within_named_documents(index):
    owner, first, second = uuid4(), uuid4(), uuid4()
    await index.upsert([point(owner, document, EAST) for document in (first, second, uuid4())])
    hits = await index.search(
        owner,
        Query(EAST),
        limit=10,
        where=SearchFilter(
            (
                first,
                second,
            )
        ),
    )
    assert {hit.document_id for hit in hits} == {first, second}
    assert await index.count(owner, first) == 1


def terms(*ids: int) -> SparseVector:
    return SparseVector(ids, (1.0,) * len(ids))


async def test_terms_find_what_meaning_does_not(index):
    owner = uuid4()
    far = replace(point(owner, uuid4(), NORTH), sparse=terms(1, 2))
    other = replace(point(owner, uuid4(), NORTH), sparse=terms(3, 4_294_967_295))
    near = point(owner, uuid4(), [0.0, 0.0, 1.0, 0.0])
    await index.upsert([far, other, near])
    assert [hit.id for hit in await index.search(owner, Query(sparse=terms(2)), limit=5)] == [far.id]
    vector = [0.0, 0.8, 1.0, 0.0]
    assert (await index.search(owner, Query(vector), limit=5))[0].id == near.id
    found = await index.search(owner, Query(vector, terms(4_294_967_295)), limit=5)
    assert [hit.id for hit in found] == [other.id, near.id, far.id]


async def test_a_rare_term_counts_more_than_a_frequent_one(index):
    owner = uuid4()
    rare = replace(point(owner, uuid4(), EAST), sparse=terms(1))
    await index.upsert([rare, *(replace(point(owner, uuid4(), EAST), sparse=terms(2)) for _ in range(9))])
    found = await index.search(owner, Query(sparse=terms(1, 2)), limit=10)
    assert found[0].id == rare.id
    assert found[0].score > 2 * found[1].score


async def test_scores_do_not_tell_of_other_owners_words(index):
    owner = uuid4()
    await index.upsert([replace(point(owner, uuid4(), EAST), sparse=terms(n)) for n in (1, 2, 2)])
    before = await index.search(owner, Query(sparse=terms(1, 2)), limit=10)
    await index.upsert([replace(point(uuid4(), uuid4(), EAST), sparse=terms(1)) for _ in range(50)])
    after = await index.search(owner, Query(sparse=terms(1, 2)), limit=10)
    assert [hit.score for hit in after] == pytest.approx([hit.score for hit in before])


async def test_equal_scores_come_in_the_order_of_ids_on_every_page(index):
    owner, document = uuid4(), uuid4()
    points = [replace(point(owner, document, EAST), sparse=terms(1)) for _ in range(30)]
    await index.upsert(points)
    for query in (Query(EAST), Query(sparse=terms(1)), Query(EAST, terms(1))):
        for limit in (5, 30):
            found = await index.search(owner, query, limit=limit)
            assert [hit.id for hit in found] == sorted(one.id for one in points)[:limit]


async def test_a_query_of_nothing_finds_nothing(index):
    owner = uuid4()
    await index.upsert([point(owner, uuid4(), EAST)])
    assert await index.search(owner, Query(), limit=5) == []


OLD, NEW = datetime(2024, 5, 1, tzinfo=UTC), datetime(2025, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (SearchFilter(), {"old", "new"}),
        (SearchFilter(subjects=("physics",)), {"old"}),
        (SearchFilter(subjects=("physics", "biology")), {"old", "new"}),
        (SearchFilter(subjects=("art",)), set()),
        (SearchFilter(file_types=("pdf",)), {"new"}),
        (SearchFilter(headings=("light  AND matter",)), {"old"}),
        (SearchFilter(headings=("optics",)), {"old", "new"}),
        (SearchFilter(headings=("light",)), set()),
        (SearchFilter(created_from=NEW), {"new"}),
        (SearchFilter(created_before=NEW), {"old"}),
        (SearchFilter(created_from=OLD, created_before=NEW), {"old"}),
        (SearchFilter(subjects=("physics",), file_types=("pdf",)), set()),
    ],
)
async def test_filters(index, where, expected):
    owner = uuid4()
    old = {"subject": "physics", "file_type": "txt", "headings": ["Optics", "Light and\nmatter"]}
    new = {"subject": "biology", "file_type": "pdf", "headings": ["Optics"]}
    await index.upsert(
        [
            replace(point(owner, uuid4(), EAST, name="old", created_at=OLD, **old), sparse=terms(1)),
            replace(point(owner, uuid4(), EAST, name="new", created_at=NEW, **new), sparse=terms(1)),
            replace(point(uuid4(), uuid4(), EAST, name="other", created_at=OLD, **old), sparse=terms(1)),
        ]
    )
    for query in (Query(EAST), Query(sparse=terms(1)), Query(EAST, terms(1))):
        found = await index.search(owner, query, limit=10, where=where)
        assert {hit.payload["name"] for hit in found} == expected


async def test_a_changed_payload_is_filtered_by(index):
    owner, document, other = uuid4(), uuid4(), uuid4()
    await index.upsert(
        [point(owner, one, EAST, subject="physics", page=4) for one in (document, document, other)]
        + [point(other, document, EAST, subject="physics")]
    )
    await index.set_payload(owner, document, {"subject": "art", "user_id": str(other), "document_id": "x"})
    await index.set_payload(owner, uuid4(), {"subject": "art"})
    art = await index.search(owner, Query(EAST), limit=10, where=SearchFilter(subjects=("art",)))
    assert [(hit.document_id, hit.payload) for hit in art] == [(document, {"subject": "art", "page": 4})] * 2
    assert (await index.count(owner), await index.count(other)) == (3, 1)
    assert await index.search(other, Query(EAST), limit=9, where=SearchFilter(subjects=("art",))) == []


async def test_limit(index):
    owner = uuid4()
    await index.upsert([point(owner, uuid4(), EAST) for _ in range(5)])
    assert len(await index.search(owner, Query(EAST), limit=3)) == 3


async def test_writing_a_point_twice_changes_nothing(index):
    owner = uuid4()
    one = point(owner, uuid4(), EAST, chunk_index=1)
    await index.upsert([one])
    await index.upsert([one, one])
    assert await index.count(owner) == 1
    assert (await index.search(owner, Query(EAST), limit=1))[0].payload == {"chunk_index": 1}


async def test_no_points_are_fine(index):
    await index.upsert([])
    assert await index.count(uuid4()) == 0


async def test_more_points_than_one_request_takes(index):
    owner, document = uuid4(), uuid4()
    await index.upsert([point(owner, document, EAST) for _ in range(600)])
    assert await index.count(owner, document) == 600


async def test_delete_takes_one_document_of_one_owner(index):
    owner, other, document, kept = uuid4(), uuid4(), uuid4(), uuid4()
    await index.upsert(
        [
            point(owner, document, EAST),
            point(owner, document, NORTH),
            point(owner, kept, EAST),
            point(other, document, EAST),
        ]
    )
    await index.delete_document(owner, document)
    await index.delete_document(owner, document)
    assert (await index.count(owner, document), await index.count(owner, kept)) == (0, 1)
    assert await index.count(other, document) == 1


async def test_a_vector_of_another_dimension_is_refused(index):
    owner = uuid4()
    with pytest.raises(DimensionMismatch, match="2 numbers"):
        await index.upsert([point(owner, uuid4(), EAST), point(owner, uuid4(), [1.0, 0.0])])
    with pytest.raises(DimensionMismatch, match="5 numbers"):
        await index.search(owner, Query([1.0] * 5), limit=1)
    assert await index.count(owner) == 0


async def test_a_collection_of_another_dimension_is_refused_and_can_be_rebuilt(make_index):
    owner, old = uuid4(), make_index(4)
    await old.upsert([point(owner, uuid4(), EAST)])
    if make_index.kind == "edge":
        await old.close()
    new = make_index(8)
    with pytest.raises(DimensionMismatch, match="8"):
        await new.check()
    await new.rebuild()
    await new.upsert([point(owner, uuid4(), [1.0] * 8)])
    assert await new.count(owner) == 1
    await new.close()


async def test_a_collection_of_an_older_version_is_refused_and_can_be_rebuilt(make_index):
    await make_index.make_dense_only()
    index, owner = make_index(), uuid4()
    for call in (index.check(), index.count(owner), index.search(owner, Query(EAST), limit=1)):
        with pytest.raises(IncompatibleIndex):
            await call
    await index.rebuild()
    await index.upsert([point(owner, uuid4(), EAST)])
    assert await index.count(owner) == 1
    await index.close()


async def test_a_second_opening_finds_what_the_first_wrote(make_index):
    owner, first = uuid4(), make_index()
    await first.check()
    await first.upsert([point(owner, uuid4(), EAST)])
    if make_index.kind == "edge":
        await first.close()
    second = make_index()
    await second.check()
    assert await second.count(owner) == 1
    await second.close()


async def test_an_alias_stands_for_its_collection():
    client = AsyncQdrantClient(":memory:")
    made = QdrantIndex(client, collection="passages-1", dimension=4)
    owner = uuid4()
    await made.upsert([point(owner, uuid4(), EAST)])
    create = models.CreateAlias(collection_name="passages-1", alias_name="passages")
    await client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    assert await QdrantIndex(client, collection="passages", dimension=4).count(owner) == 1


async def test_a_folder_in_use_is_unavailable(tmp_path):
    first = EdgeIndex(tmp_path, collection="passages", dimension=4)
    await first.check()
    with pytest.raises(IndexUnavailable):
        await EdgeIndex(tmp_path, collection="passages", dimension=4).check()
    await first.close()


async def test_large_collections_are_optimized(tmp_path):
    index = EdgeIndex(tmp_path, collection="passages", dimension=4)
    owner = uuid4()
    await index.upsert([point(owner, uuid4(), EAST) for _ in range(300)])
    await index.optimize()
    assert await index.count(owner) == 300
    await index.close()


async def test_a_server_that_is_away_is_unavailable(unused_tcp_port):
    index = QdrantIndex(Server(f"http://127.0.0.1:{unused_tcp_port}"), collection="passages", dimension=4)
    with pytest.raises(IndexUnavailable):
        await index.check()
    await index.close()


async def test_a_scan_shows_all_points_once_in_the_order_of_their_ids(index):
    points = [point(uuid4(), uuid4(), EAST, page=3) for _ in range(25)]
    await index.upsert(points)
    seen, after = [], None
    while batch := await index.scan(after, 10):
        assert len(batch) <= 10
        seen += batch
        after = batch[-1].id
    assert seen == sorted(
        (StoredPoint(one.id, one.owner, one.document_id) for one in points), key=lambda one: one.id
    )
    assert await index.scan(UUID(int=2**128 - 1), 10) == []


async def test_only_the_owners_points_are_deleted_by_id(index):
    owner, other, document = uuid4(), uuid4(), uuid4()
    gone, kept, theirs = (point(who, document, EAST) for who in (owner, owner, other))
    await index.upsert([gone, kept, theirs])
    await index.delete(owner, [gone.id, theirs.id, uuid4()])
    await index.delete(owner, [])
    assert {one.id for one in await index.scan(None, 10)} == {kept.id, theirs.id}

"""The Qdrant server's adapter on the wire: what it asks for, repeats, and makes of refusals."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiohttp import web
from qdrant_client import AsyncQdrantClient

from little_monster.db.errors import IndexUnavailable
from little_monster.db.vectors.connection import ATTEMPTS, RetryingTransport, Server, connect
from little_monster.db.vectors.index import Point, Query, SearchFilter, SparseVector
from little_monster.db.vectors.layout import Layout
from little_monster.db.vectors.server import QdrantIndex


class Wire:
    """A server that answers as Qdrant does, or as `answers` say first: a status, or None to hang up."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, Any, Any]] = []
        self.there = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, body, request.headers))
        if self.answers:
            status = self.answers.pop(0)
            if status is None:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            return web.json_response({"status": {"error": "no"}}, status=status, headers=self.headers)
        return web.json_response({"result": self._result(request, body), "status": "ok", "time": 0.0})

    def _result(self, request: web.Request, body: Any) -> Any:
        path = request.path.removeprefix("/collections/passages")
        match request.method, path:
            case "GET", "/exists":
                return {"exists": self.there}
            case "PUT", "":
                self.there = True
                return True
            case "GET", "":
                return _description(self.there)
            case "GET", _:
                return {"aliases": []}
            case "POST", "/points/query/batch":
                return [{"points": []} for _ in body["searches"]]
            case "POST", "/points/count":
                return {"count": 7}
        return {"operation_id": 1, "status": "completed"}

    def bodies(self, method: str, path: str) -> list[Any]:
        return [body for verb, at, body, _ in self.asked if (verb, at) == (method, path)]


def _description(indexed: bool) -> Any:
    schema = {"data_type": "keyword", "points": 0}
    keys = ("user_id", "document_id", "subject", "file_type", "headings")
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "config": {
            "params": {
                "vectors": {"dense": {"size": 4, "distance": "Cosine"}},
                "sparse_vectors": {"sparse": {"modifier": "idf"}},
            },
            "hnsw_config": {"m": 0, "ef_construct": 100, "full_scan_threshold": 1000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        },
        "payload_schema": {} if not indexed else dict.fromkeys(keys[:1], schema),
    }


@pytest.fixture
async def wire(unused_tcp_port: int) -> AsyncIterator[tuple[Wire, str]]:
    wire, app = Wire(), web.Application()
    app.router.add_route("*", "/{tail:.*}", wire.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield wire, f"http://127.0.0.1:{unused_tcp_port}"
    await runner.cleanup()


@pytest.fixture
async def index(wire: tuple[Wire, str]) -> AsyncIterator[QdrantIndex]:
    index = QdrantIndex(
        Server(wire[1], timeout_s=1),
        collection="passages",
        dimension=4,
        layout=Layout(on_disk=True, quantization="scalar"),
    )
    yield index
    await index.close()


async def test_a_collection_is_made_for_tenants(wire: tuple[Wire, str], index: QdrantIndex) -> None:
    await index.check()
    [made] = wire[0].bodies("PUT", "/collections/passages")
    assert made["vectors"]["dense"] == {"size": 4, "distance": "Cosine", "on_disk": True}
    assert made["sparse_vectors"] == {"sparse": {"modifier": "idf", "index": {"on_disk": True}}}
    assert made["hnsw_config"] == {"m": 0, "payload_m": 16, "on_disk": True}
    assert made["quantization_config"]["scalar"]["type"] == "int8"
    assert made["strict_mode_config"]["enabled"]
    assert not made["strict_mode_config"]["unindexed_filtering_retrieve"]
    assert not made["strict_mode_config"]["unindexed_filtering_update"]


async def test_missing_indexes_are_made_for_every_filter(wire: tuple[Wire, str], index: QdrantIndex) -> None:
    wire[0].there = True
    await index.check()
    assert wire[0].bodies("PUT", "/collections/passages") == []
    made = {
        one["field_name"]: one["field_schema"] for one in wire[0].bodies("PUT", "/collections/passages/index")
    }
    assert {*made} == {"document_id", "subject", "file_type", "headings", "created_at"}
    assert made["created_at"]["type"] == "datetime"


async def test_every_search_names_the_owner(wire: tuple[Wire, str], index: QdrantIndex) -> None:
    owner = uuid4()
    await index.search(owner, Query([1.0] * 4, SparseVector((1,), (1.0,))), limit=3, where=SearchFilter())
    [batch] = wire[0].bodies("POST", "/collections/passages/points/query/batch")
    dense, sparse = batch["searches"]
    own = [{"key": "user_id", "match": {"value": str(owner)}}]
    assert dense["filter"]["must"] == sparse["filter"]["must"] == own
    assert sparse["params"]["idf"]["corpus"]["must"] == own
    assert dense["params"]["quantization"] == {"rescore": True, "oversampling": 2.0}


@pytest.mark.parametrize("answers", [[429], [503, 502], [None], [500, None, 429]])
async def test_what_fails_for_a_moment_is_repeated(
    wire: tuple[Wire, str], index: QdrantIndex, answers: list[int | None]
) -> None:
    await index.check()
    wire[0].answers = answers
    assert await index.count(uuid4()) == 7
    wire[0].answers = list(answers)
    await index.upsert([Point(uuid4(), uuid4(), uuid4(), [1.0] * 4)])


async def test_what_fails_for_long_is_unavailable_and_recovers(
    wire: tuple[Wire, str], index: QdrantIndex
) -> None:
    await index.check()
    for refused in ([503] * ATTEMPTS, [429] * ATTEMPTS, [None] * ATTEMPTS, [404]):
        wire[0].answers = [*refused]
        with pytest.raises(IndexUnavailable):
            await index.search(uuid4(), Query([1.0] * 4), limit=1)
        assert wire[0].answers == []
    # The server came back empty: the collection is made again.
    wire[0].there = False
    assert await index.count(uuid4()) == 7
    assert len(wire[0].bodies("PUT", "/collections/passages")) == 2


async def test_an_answer_that_does_not_come_is_unavailable(unused_tcp_port: int) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", unused_tcp_port):
        transport = RetryingTransport(httpx.AsyncHTTPTransport(), first_pause_s=0.01)
        client = AsyncQdrantClient(
            f"http://127.0.0.1:{unused_tcp_port}",
            timeout=1,
            transport=transport,
            check_compatibility=False,
        )
        index = QdrantIndex(client, collection="passages", dimension=4)
        with pytest.raises(IndexUnavailable):
            await index.check()
        await index.close()


async def test_the_server_says_how_long_to_wait() -> None:
    transport = RetryingTransport(httpx.AsyncHTTPTransport(), first_pause_s=0.1)
    pauses = [transport._pause_s(attempt, {}) for attempt in range(3)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4])
    assert transport._pause_s(0, {"retry-after": "1"}) == 1
    assert transport._pause_s(0, {"retry-after": "3600"}) == 2
    assert transport._pause_s(0, {"retry-after": "soon"}) == 0.1


async def test_the_key_goes_with_every_request(wire: tuple[Wire, str]) -> None:
    with pytest.warns(UserWarning, match="insecure"):
        client = connect(Server(wire[1], api_key="secret"))
    index = QdrantIndex(client, collection="passages", dimension=4)
    await index.check()
    assert {headers.get("api-key") for _, _, _, headers in wire[0].asked} == {"secret"}
    await index.close()


async def test_grpc_that_is_away_is_unavailable(unused_tcp_port: int) -> None:
    server = Server(f"http://127.0.0.1:{unused_tcp_port}", grpc_port=unused_tcp_port, timeout_s=2)
    index = QdrantIndex(server, collection="passages", dimension=4)
    with pytest.raises(IndexUnavailable):
        await index.check()
    await index.close()

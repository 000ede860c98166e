"""Search over HTTP: what is asked besides the query, pages, highlights, and an index that is away."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.errors import DatabaseError, IncompatibleIndex, IndexUnavailable
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import EVERYTHING, Hit, Point, Query, SearchFilter
from little_monster.platform.engines.fakes import DIMENSION, FakeEmbedder
from little_monster.platform.settings import Settings
from tests.fixtures.library import Library

DOCUMENTS, SEARCH = "/api/v1/documents", "/api/v1/documents/search"
TEXT = "Cells make energy in mitochondria.\n\nPlants absorb light with chlorophyll.\n\nKings ruled France."


class Breakable(EdgeIndex):
    """An index that raises `error` while there is one."""

    error: DatabaseError | None = None

    async def upsert(self, points: Sequence[Point]) -> None:
        self._raise()
        await super().upsert(points)

    async def search(
        self, owner: UUID, query: Query, *, limit: int, where: SearchFilter = EVERYTHING
    ) -> list[Hit]:
        self._raise()
        return await super().search(owner, query, limit=limit, where=where)

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
async def library(
    settings: Settings,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    database: Any,
    tmp_path: Path,
) -> AsyncIterator[tuple[FastAPI, Library]]:
    index, embedder = Breakable(tmp_path, "passages", DIMENSION), FakeEmbedder()
    found = Library(database, index, embedder)
    async with running(settings, index=index, embedder=embedder, retriever=found) as app:
        yield app, found
    await index.close()


@pytest.fixture
async def search(
    library: tuple[FastAPI, Library], client_of: Callable[..., httpx.AsyncClient], account: Any
) -> AsyncIterator[Callable[..., Any]]:
    """Post a search as the account, and return the answer."""
    async with client_of(library[0]) as client:

        async def post(query: str, **body: Any) -> httpx.Response:
            return await client.post(SEARCH, json={"query": query, **body}, headers=account.headers)

        yield post


async def test_highlights_and_the_quote_are_parts_of_the_passage(
    library: tuple[FastAPI, Library], search: Any, account: Any
) -> None:
    await library[1].add(UUID(account.user["id"]), "Notes", "Kings rule. A cell makes energy. Light.")
    [passage] = (await search("energy of cells")).json()["items"]
    content = passage["content"]
    assert [content[one["start"] : one["end"]] for one in passage["highlights"]] == ["cell", "energy"]
    quote = passage["quote"]
    assert quote["text"] == content[quote["start"] : quote["end"]] == "A cell makes energy."
    [other] = (await search("revolution")).json()["items"]
    assert (other["highlights"], other["quote"]) == ([], None)


async def test_pages_are_parts_of_one_ranking(
    library: tuple[FastAPI, Library], search: Any, account: Any
) -> None:
    owner = UUID(account.user["id"])
    text = "\n\n".join(f"Passage {number} of cells{' and energy' * (number % 3)}." for number in range(23))
    await library[1].add(owner, "Notes", text)
    whole = (await search("energy of cells", limit=50)).json()
    assert (len(whole["items"]), whole["next_offset"]) == (23, None)
    ids, offset = [], 0
    while offset is not None:
        page = (await search("energy of cells", limit=5, offset=offset)).json()
        ids += [one["chunk_id"] for one in page["items"]]
        offset = page["next_offset"]
    assert ids == [one["chunk_id"] for one in whole["items"]]


async def test_the_number_of_passages_of_a_document_is_limited(
    library: tuple[FastAPI, Library], search: Any, account: Any
) -> None:
    owner = UUID(account.user["id"])
    documents = [await library[1].add(owner, "Notes", TEXT) for _ in range(3)]
    found = (await search("cells", per_document=1)).json()["items"]
    assert sorted(one["document_id"] for one in found) == sorted(map(str, documents))
    assert len((await search("cells", per_document=2)).json()["items"]) == 6


async def test_filters_choose_among_passages(
    library: tuple[FastAPI, Library], search: Any, account: Any, client_of: Callable[..., httpx.AsyncClient]
) -> None:
    owner, (app, shelf) = UUID(account.user["id"]), library
    physics = str(await shelf.add(owner, "One", "Cells of light.", subject="physics"))
    biology = str(await shelf.add(owner, "Two", "Cells of life.", subject="biology"))

    async def found(**filters: Any) -> list[str]:
        response = await search("cells", filters=filters)
        assert response.status_code == 200, response.text
        return sorted(one["document_id"] for one in response.json()["items"])

    assert await found(subjects=["physics"]) == [physics]
    assert await found(subjects=["physics", "biology"]) == sorted([physics, biology])
    assert await found(file_types=["pdf"]) == []
    assert await found(file_types=["txt"], headings=["  CHAPTER "]) == sorted([physics, biology])
    assert await found(created_before="2020-01-01T00:00:00Z") == []
    assert await found(created_from="2020-01-01T00:00:00+02:00") == sorted([physics, biology])
    # What the index still says of a document's subject does not count.
    async with client_of(app) as client:
        change = {"subject": "art"}
        changed = await client.patch(f"{DOCUMENTS}/{physics}", json=change, headers=account.headers)
    assert changed.status_code == 200
    assert await found(subjects=["physics"]) == []


@pytest.mark.parametrize(
    "body",
    [
        {"offset": -1},
        {"offset": 100},
        {"per_document": 0},
        {"filters": {"subjects": ["astrology"]}},
        {"filters": {"file_types": ["exe"]}},
        {"filters": {"headings": ["a\x00b"]}},
        {"filters": {"headings": [""]}},
        {"filters": {"headings": ["x"] * 21}},
        {"filters": {"created_from": "2020-01-01T00:00:00"}},
        {"filters": {"unknown": 1}},
    ],
)
async def test_a_bad_search_is_refused(search: Any, body: Any) -> None:
    response = await search("cells", **body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("error", [IndexUnavailable("away"), IncompatibleIndex("of another shape")])
async def test_while_the_index_is_away_only_searches_wait(
    library: tuple[FastAPI, Library],
    search: Any,
    account: Any,
    client_of: Callable[..., httpx.AsyncClient],
    error: DatabaseError,
) -> None:
    (app, shelf), headers = library, account.headers
    document = str(await shelf.add(UUID(account.user["id"]), "Notes", TEXT))
    before = (await search("cells make energy")).json()
    assert isinstance(shelf.index, Breakable)
    shelf.index.error = error
    for _ in range(3):
        refused = await search("cells make energy")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"
    async with client_of(app) as client:
        files = {"file": ("notes.txt", uuid4().hex.encode())}
        uploaded = await client.post(f"{DOCUMENTS}/upload", files=files, headers=headers)
        assert uploaded.status_code == 202
        assert uploaded.json()["job"]["status"] == "queued"
        assert len((await client.get(DOCUMENTS, headers=headers)).json()["items"]) == 2
        for path in (document, f"{document}/chunks", uploaded.json()["document"]["id"]):
            assert (await client.get(f"{DOCUMENTS}/{path}", headers=headers)).status_code == 200
        change = {"subject": "biology", "title": "Cells"}
        changed = await client.patch(f"{DOCUMENTS}/{document}", json=change, headers=headers)
        assert changed.json()["subject"] == "biology"
    shelf.index.error = None
    again = (await search("cells make energy")).json()
    assert [one["chunk_id"] for one in again["items"]] == [one["chunk_id"] for one in before["items"]]

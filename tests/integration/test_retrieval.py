"""Retrieval: the owner's passages and nobody else's, best first, with where they stand."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from little_monster.db.repositories import user_documents
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import Point
from little_monster.platform.engines.fakes import DIMENSION, FakeEmbedder
from little_monster.platform.engines.protocols import SearchOptions
from little_monster.platform.services.retrieval import RERANKED, search_passages
from tests.fixtures.library import Library

TEXT = "Cells make energy in mitochondria.\n\nPlants absorb light with chlorophyll.\n\nKings ruled France."


@pytest.fixture
async def library(database: Database, tmp_path: Path) -> AsyncIterator[Library]:
    index = EdgeIndex(tmp_path, "passages", DIMENSION)
    yield Library(database, index, FakeEmbedder())
    await index.close()


async def test_passages_come_best_first_with_where_they_stand(library: Library, user_id: UUID) -> None:
    document_id = await library.add(user_id, "Notes", TEXT, page=3)
    passages = await library.search(user_id, "absorb light with chlorophyll", limit=2)
    assert len(passages) == 2
    assert passages[0].score > passages[1].score
    best = passages[0]
    assert (best.document_id, best.document_title, best.page) == (document_id, "Notes", 3)
    assert TEXT[best.start : best.end] == best.content == "Plants absorb light with chlorophyll."
    assert best.headings == ("Chapter",)


async def test_nobody_finds_anothers_passages(
    library: Library, new_user: Callable[[], Awaitable[UUID]]
) -> None:
    mine, theirs = await new_user(), await new_user()
    document_id = await library.add(mine, "Notes", TEXT)
    assert await library.search(theirs, "mitochondria", limit=5) == []
    assert await library.search(theirs, "mitochondria", limit=5, document_ids=[document_id]) == []


async def test_a_wrong_owner_in_the_index_shows_nothing(
    library: Library, new_user: Callable[[], Awaitable[UUID]]
) -> None:
    mine, theirs = await new_user(), await new_user()
    await library.add(mine, "Notes", TEXT)
    [passage] = await library.search(mine, "mitochondria", limit=1)
    [vector] = await library.embedder.embed([passage.content])
    await library.index.upsert([Point(passage.chunk_id, theirs, passage.document_id, vector)])
    assert await library.search(theirs, "mitochondria", limit=5) == []


async def test_documents_narrow_the_search(library: Library, user_id: UUID) -> None:
    await library.add(user_id, "One", TEXT)
    other = await library.add(user_id, "Two", "Cells divide.\n\nCells grow.")
    passages = await library.search(user_id, "cells make energy", limit=10, document_ids=[other])
    assert {one.document_id for one in passages} == {other}
    assert len(passages) == 2


async def test_points_without_rows_are_passed_over(library: Library, user_id: UUID) -> None:
    gone = await library.add(user_id, "Gone", TEXT)
    kept = await library.add(user_id, "Kept", TEXT)
    async with library.database.session(user_id) as session:
        await user_documents.delete(session, gone)
    passages = await library.search(user_id, "mitochondria", limit=3)
    assert [one.document_id for one in passages] == [kept] * 3


async def test_an_empty_library_has_no_passages(library: Library) -> None:
    assert await library.search(uuid4(), "anything", limit=5) == []


class _Backwards:
    """A reranker that likes best what was last."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        self.read = [*texts]
        return [number / 100 for number in range(len(texts))]


async def test_a_reranker_reads_the_best_and_the_others_follow(library: Library, user_id: UUID) -> None:
    number = RERANKED + 4
    await library.add(user_id, "One", "\n\n".join(f"Cells {'of life ' * (i % 5)}{i}." for i in range(number)))
    plain = await library.search(user_id, "cells of life", limit=number)
    reranker = _Backwards()
    found = await search_passages(
        library.embedder,
        library.index,
        library.database,
        user_id,
        "cells of life",
        number,
        reranker=reranker,
    )
    assert reranker.read == [one.content for one in plain[:RERANKED]]
    assert [one.content for one in found] == [
        *reversed(reranker.read),
        *(one.content for one in plain[RERANKED:]),
    ]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


async def test_only_so_many_passages_of_a_document(library: Library, user_id: UUID) -> None:
    first = await library.add(user_id, "One", "Cells live.\n\nCells live on.\n\nCells.")
    second = await library.add(user_id, "Two", "Kings and cells.")
    options = SearchOptions(per_document=1)
    found = await library.search(user_id, "cells live", limit=5, options=options)
    assert [one.document_id for one in found] == [first, second]
    found = await library.search(
        user_id, "cells live", limit=5, options=SearchOptions(offset=1, per_document=1)
    )
    assert [one.document_id for one in found] == [second]


async def test_a_word_finds_what_its_meaning_does_not(library: Library, user_id: UUID) -> None:
    await library.add(user_id, "Notes", TEXT + "\n\nSection 12.7 names xylotrupes gideon.")
    [found] = await library.search(user_id, "Xylotrupes", limit=1)
    assert "xylotrupes" in found.content
    assert [found.content[start:end] for start, end in found.matches] == ["xylotrupes"]

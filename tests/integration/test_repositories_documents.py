from datetime import datetime
from hashlib import sha256
from uuid import UUID

import pytest

from little_monster.db.base import new_id
from little_monster.db.models import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.repositories import document_chunks, user_documents
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.user_documents import DocumentFilter, Listed


@pytest.fixture
def new_document(database, user_id):
    async def make(title: str = "Optics") -> UserDocument:
        document_id = new_id()
        async with database.session(user_id) as session:
            return await user_documents.create(
                session,
                document_id=document_id,
                user_id=user_id,
                title=title,
                file_type=FileType.PDF,
                file_url=f"{user_id}/{document_id}/original",
                file_size=3_000_000_000,
                content_hash=sha256(title.encode()).hexdigest(),
                subject=Subject.PHYSICS,
                metadata={"pages": 3},
            )

    return make


def chunks(n: int, *, of: str = "x") -> list[NewChunk]:
    return [
        NewChunk(
            id=new_id(),
            chunk_index=i,
            content=f"{of} {i}",
            content_hash=f"{i}",
            token_count=2,
            start_offset=i * 10,
            end_offset=i * 10 + 9,
            page=i + 1,
            page_end=i + 1,
            headings=("Light", "Waves"),
            metadata={"i": i},
        )
        for i in range(n)
    ]


async def test_a_new_document_waits(new_document):
    document = await new_document()
    assert document.embedding_status is EmbeddingStatus.PENDING
    assert (document.chunk_count, document.page_count, document.subject) == (0, None, Subject.PHYSICS)
    assert document.metadata_ == {"pages": 3}


def position(row: Listed) -> tuple[datetime, UUID]:
    return row.value, row.document.id


async def test_pages_of_a_list_are_stable_while_documents_come(database, user_id, new_document):
    made = [await new_document(f"{i}") for i in range(5)]
    async with database.session(user_id) as session:
        first = await user_documents.list(session, limit=2)
    await new_document("late")
    async with database.session(user_id) as session:
        second = await user_documents.list(session, limit=2, after=position(first[-1]))
        third = await user_documents.list(session, limit=2, after=position(second[-1]))
    assert [row.document.id for row in first + second + third] == [row.id for row in reversed(made)]


async def test_list_by_status(database, user_id, new_document):
    done, _ = await new_document("done"), await new_document("waiting")
    wanted = DocumentFilter(status=EmbeddingStatus.COMPLETED)
    async with database.session(user_id) as session:
        await user_documents.set_status(session, done.id, EmbeddingStatus.COMPLETED)
        listed = await user_documents.list(session, wanted, limit=5)
    assert [row.document.id for row in listed] == [done.id]


async def test_status_says_why_and_a_later_one_forgets_it(database, user_id, new_document):
    document = await new_document()
    async with database.session(user_id) as session:
        assert await user_documents.set_status(
            session,
            document.id,
            EmbeddingStatus.FAILED,
            error_code="pdf_encrypted",
            error_reason="A password.",
        )
    async with database.session(user_id) as session:
        failed = await user_documents.get(session, document.id)
        assert (failed.error_code, failed.error_reason) == ("pdf_encrypted", "A password.")
    async with database.session(user_id) as session:
        await user_documents.set_status(
            session, document.id, EmbeddingStatus.COMPLETED, page_count=12, metadata={"author": "N"}
        )
    async with database.session(user_id) as session:
        done = await user_documents.get(session, document.id)
    assert (done.embedding_status, done.error_code, done.page_count) == (EmbeddingStatus.COMPLETED, None, 12)
    assert done.metadata_ == {"pages": 3, "author": "N"}
    assert done.updated_at > document.updated_at


async def test_the_same_bytes_are_found(database, user_id, new_user, new_document):
    document = await new_document("same")
    async with database.session(user_id) as session:
        assert (await user_documents.find_by_hash(session, document.content_hash)).id == document.id
        assert await user_documents.find_by_hash(session, "other") is None
    async with database.session(await new_user()) as session:
        assert await user_documents.find_by_hash(session, document.content_hash) is None


async def test_somebody_elses_document_looks_missing(database, new_user, new_document):
    document = await new_document()
    async with database.session(await new_user()) as session:
        assert await user_documents.get(session, document.id) is None
        assert await user_documents.get_many(session, [document.id]) == []
        assert not await user_documents.set_status(session, document.id, EmbeddingStatus.FAILED)
        assert not await user_documents.delete(session, document.id)


async def test_chunks_replace_what_was_there_and_are_counted(database, user_id, new_document):
    document = await new_document()
    for n in (5, 3):
        async with database.session(user_id) as session:
            assert await document_chunks.replace_all(
                session, user_id=user_id, document_id=document.id, chunks=chunks(n)
            )
        async with database.session(user_id) as session:
            assert (await user_documents.get(session, document.id)).chunk_count == n
            assert len(await document_chunks.list(session, document.id, limit=10)) == n


async def test_writing_the_same_chunks_twice_changes_nothing(database, user_id, new_document):
    document, same = await new_document(), chunks(4)
    for _ in range(2):
        async with database.session(user_id) as session:
            await document_chunks.replace_all(session, user_id=user_id, document_id=document.id, chunks=same)
    async with database.session(user_id) as session:
        found = await document_chunks.list(session, document.id, limit=10)
    assert [row.id for row in found] == [chunk.id for chunk in same]
    assert found[1].headings == ["Light", "Waves"]
    assert (found[1].page, found[1].metadata_, found[1].embedding_id) == (2, {"i": 1}, str(found[1].id))


async def test_chunks_in_pages(database, user_id, new_document):
    document = await new_document()
    async with database.session(user_id) as session:
        await document_chunks.replace_all(session, user_id=user_id, document_id=document.id, chunks=chunks(5))
        first = await document_chunks.list(session, document.id, limit=3)
        rest = await document_chunks.list(session, document.id, limit=3, after=first[-1].chunk_index)
    assert [row.chunk_index for row in first + rest] == [0, 1, 2, 3, 4]


async def test_chunks_by_id_come_in_the_order_asked_for_with_their_title(
    database, user_id, new_user, new_document
):
    document, made = await new_document("Waves"), chunks(3)
    async with database.session(user_id) as session:
        await document_chunks.replace_all(session, user_id=user_id, document_id=document.id, chunks=made)
    ids = [made[2].id, new_id(), made[0].id]
    async with database.session(user_id) as session:
        found = await document_chunks.get_many(session, ids)
    assert [(item.chunk.id, item.title) for item in found] == [(ids[0], "Waves"), (ids[2], "Waves")]
    async with database.session(await new_user()) as session:
        assert await document_chunks.get_many(session, ids) == []


async def test_chunks_of_a_document_that_is_gone(database, user_id, new_document):
    document = await new_document()
    async with database.session(user_id) as session:
        await document_chunks.replace_all(session, user_id=user_id, document_id=document.id, chunks=chunks(2))
        assert await user_documents.delete(session, document.id)
    async with database.session(user_id) as session:
        assert await document_chunks.list(session, document.id, limit=5) == []
        assert not await document_chunks.replace_all(
            session, user_id=user_id, document_id=document.id, chunks=chunks(2)
        )


async def test_many_chunks_at_once(database, user_id, new_document):
    document = await new_document()
    async with database.session(user_id) as session:
        await document_chunks.replace_all(
            session, user_id=user_id, document_id=document.id, chunks=chunks(5_000)
        )
    async with database.session(user_id) as session:
        assert (await user_documents.get(session, document.id)).chunk_count == 5_000

"""Messages of a conversation and chunks of a document: their counts are what a recount gives, whoever writes
at the same time."""

import asyncio
import contextlib
import random
from uuid import UUID

import asyncpg
from sqlalchemy import delete, func, select

from little_monster.db.base import new_id
from little_monster.db.errors import DatabaseUnavailable, MissingParent
from little_monster.db.models import ChatMessage, DocumentChunk, FileType, MessageRole
from little_monster.db.repositories import (
    chat_conversations,
    chat_messages,
    document_chunks,
    user_documents,
)
from little_monster.db.session import Database, Session

WRITERS, STEPS = 8, 12
RECOUNT = """
    SELECT c.message_count AS counted, count(m.id) AS there
    FROM chat_conversations c LEFT JOIN chat_messages m ON m.conversation_id = c.id
    WHERE c.user_id = $1 GROUP BY c.id
    UNION ALL
    SELECT d.chunk_count, count(k.id)
    FROM user_documents d LEFT JOIN document_chunks k ON k.document_id = d.id
    WHERE d.user_id = $1 GROUP BY d.id
"""


async def recounted(postgres, user_id: UUID) -> list[int]:
    """Return all counts of the user's after checking them."""
    owner = await asyncpg.connect(postgres.owner_url)
    rows = await owner.fetch(RECOUNT, user_id)
    await owner.close()
    assert [row["counted"] for row in rows] == [row["there"] for row in rows]
    return [row["counted"] for row in rows]


class Writer:
    """Writes messages and chunks of one user, and takes some away, by chance."""

    def __init__(self, database: Database, user_id: UUID, seed: int) -> None:
        self.database, self.user_id, self.chance = database, user_id, random.Random(seed)

    async def work(self, conversations: list[UUID], documents: list[UUID]) -> None:
        for _ in range(STEPS):
            with contextlib.suppress(DatabaseUnavailable, MissingParent):
                async with self.database.session(self.user_id) as session:
                    if self.chance.random() < 0.5:
                        await self._talk(session, self.chance.choice(conversations))
                    else:
                        await self._chunk(session, self.chance.choice(documents))
                    if self.chance.random() < 0.1:
                        await session.rollback()

    async def _talk(self, session: Session, conversation: UUID) -> None:
        if self.chance.random() < 0.7:
            for _ in range(self.chance.randint(1, 3)):
                await chat_messages.add(
                    session,
                    user_id=self.user_id,
                    conversation_id=conversation,
                    role=MessageRole.USER,
                    content="?",
                )
        else:
            await self._remove(session, ChatMessage, ChatMessage.conversation_id == conversation)

    async def _chunk(self, session: Session, document: UUID) -> None:
        if self.chance.random() < 0.6:
            count = self.chance.randint(0, 20)
            chunks = [document_chunks.NewChunk(new_id(), n, "a", "00", 1, n, n + 1) for n in range(count)]
            await document_chunks.replace_all(
                session, user_id=self.user_id, document_id=document, chunks=chunks
            )
        else:
            await self._remove(session, DocumentChunk, DocumentChunk.document_id == document)

    async def _remove(self, session: Session, model, belongs) -> None:
        some = select(model.id).where(belongs).order_by(func.random()).limit(self.chance.randint(1, 4))
        await session.execute(
            delete(model).where(model.id.in_(some)), execution_options={"synchronize_session": False}
        )


async def conversation(database: Database, user_id: UUID) -> UUID:
    async with database.session(user_id) as session:
        return (await chat_conversations.create(session, user_id=user_id, title="T")).id


async def document(database: Database, user_id: UUID) -> UUID:
    document_id = new_id()
    async with database.session(user_id) as session:
        await user_documents.create(
            session,
            document_id=document_id,
            user_id=user_id,
            title="Optics",
            file_type=FileType.PDF,
            file_url=f"{document_id}",
            file_size=1,
            content_hash=document_id.hex,
        )
    return document_id


async def test_many_writers_at_once(database, postgres, user_id):
    conversations = [await conversation(database, user_id) for _ in range(2)]
    documents = [await document(database, user_id) for _ in range(2)]
    for round_ in range(3):
        await asyncio.gather(
            *(
                Writer(database, user_id, 100 * round_ + number).work(conversations, documents)
                for number in range(WRITERS)
            )
        )
        counts = await recounted(postgres, user_id)
    assert len(counts) == 4
    assert sum(counts) > 50


async def test_a_document_and_a_conversation_that_go_meanwhile(database, postgres, user_id):
    conversations = [await conversation(database, user_id) for _ in range(2)]
    documents = [await document(database, user_id) for _ in range(2)]

    async def remove() -> None:
        await asyncio.sleep(0.1)
        assert await database.run(user_id, lambda session: user_documents.delete(session, documents[0]))
        assert await database.run(
            user_id, lambda session: chat_conversations.delete(session, conversations[0])
        )

    await asyncio.gather(
        remove(),
        *(Writer(database, user_id, number).work(conversations, documents) for number in range(WRITERS)),
    )
    assert len(await recounted(postgres, user_id)) == 2

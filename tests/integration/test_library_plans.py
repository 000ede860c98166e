"""The search of titles on a big library: through its index, and past nobody's rights."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from little_monster.db import migrate
from little_monster.db.engine import create_engine
from little_monster.db.repositories import user_documents
from little_monster.db.repositories.user_documents import DocumentFilter, DocumentOrder
from little_monster.db.session import Database

DOCUMENTS = 30_000

# One user has most of them. As the tables' owner, without its triggers.
FILL = f"""
    INSERT INTO users (id, email, password_hash, display_name)
        SELECT uuidv7(), n || '@example.org', '', '' FROM generate_series(1, 3) n;
    CREATE TEMP TABLE people AS SELECT id, email FROM users;
    INSERT INTO user_documents (id, user_id, title, file_type, file_url, file_size, content_hash)
        SELECT uuidv7(), p.id, 'word' || n % 3000 || ' of the lesson', 'pdf', '', n, n::text
        FROM generate_series(1, {DOCUMENTS}) n
        JOIN people p ON p.email = CASE WHEN n % 10 = 0 THEN 2 ELSE 1 END || '@example.org';
    ANALYZE;
"""


class Shelf:
    """A filled database; `reader` has nine of ten documents, `other` the rest, `newcomer` none."""

    def __init__(self, owner: asyncpg.Connection, database: Database, users: dict[str, UUID]) -> None:
        self.owner, self.database = owner, database
        self.reader, self.other, self.newcomer = (users[f"{n}@example.org"] for n in (1, 2, 3))

    async def search(self, who: UUID | None, words: str, order: DocumentOrder) -> list[str]:
        async with self.database.session(who) as session:
            wanted = DocumentFilter(words=words)
            found = await user_documents.list(session, wanted, order=order, limit=100)
        return [one.document.title for one in found]


@pytest.fixture(scope="module")
async def shelf(postgres: Any) -> AsyncIterator[Shelf]:
    name = await postgres.new_database()
    await migrate.upgrade(postgres.url("postgres", name), "lm_service")
    owner = await asyncpg.connect(postgres.url("postgres", name))
    await owner.execute(FILL)
    users = {row["email"]: row["id"] for row in await owner.fetch("SELECT email, id FROM users")}
    database = Database(create_engine(postgres.url("lm_service", name), pool_size=1))
    yield Shelf(owner, database, users)
    await database.close()
    await owner.close()


@pytest.mark.parametrize("order", [DocumentOrder.RELEVANCE, DocumentOrder.NEWEST])
async def test_everybody_finds_their_own(shelf: Shelf, order: DocumentOrder) -> None:
    assert await shelf.search(shelf.reader, "word7", order) == ["word7 of the lesson"] * 10
    assert await shelf.search(shelf.other, "word7", order) == []
    assert await shelf.search(shelf.other, "word10", order) == ["word10 of the lesson"] * 10
    assert await shelf.search(shelf.newcomer, "word7 OR word10", order) == []
    assert await shelf.search(None, "word7", order) == []


async def test_the_function_itself_tells_nobody_of_others(shelf: Shelf) -> None:
    for who, count in ((shelf.reader, 10), (shelf.other, 0), (shelf.newcomer, 0), (None, 0)):
        async with shelf.database.session(who) as session:
            found = await session.execute(text("SELECT * FROM library.find_documents('word7')"))
            assert len(found.all()) == count


async def test_the_function_finds_them_by_its_index(shelf: Shelf) -> None:
    """What it asks inside, as the role that it runs as, each plan that it really had."""
    lines: list[str] = []
    shelf.owner.add_log_listener(lambda _, message: lines.append(message.message))
    await shelf.owner.execute("LOAD 'auto_explain'")
    async with shelf.owner.transaction():
        for name, value in (
            ("log_min_duration", "0"),
            ("log_nested_statements", "on"),
            ("log_level", "notice"),
        ):
            await shelf.owner.execute(f"SET LOCAL auto_explain.{name} = {value}")
        await shelf.owner.execute(f"SET LOCAL app.user_id = '{shelf.reader}'; SET LOCAL ROLE lm_app")
        # Often enough for a plan that is kept.
        for _ in range(8):
            assert len(await shelf.owner.fetch("SELECT * FROM library.find_documents('word7')")) == 10
    plans = [one for one in lines if "FROM public.user_documents" in one]
    assert len(plans) == 8
    assert all("idx_documents_search" in plan and "Seq Scan" not in plan for plan in plans), plans


async def test_what_was_found_is_looked_up_one_by_one(shelf: Shelf) -> None:
    async with shelf.owner.transaction():
        await shelf.owner.execute(f"SET LOCAL app.user_id = '{shelf.reader}'; SET LOCAL ROLE lm_app")
        query = (
            "EXPLAIN SELECT d.* FROM user_documents d JOIN library.find_documents('word7') f ON f.id = d.id"
            " ORDER BY f.rank DESC, d.id DESC LIMIT 21"
        )
        plan = "\n".join(row[0] for row in await shelf.owner.fetch(query))
    assert "(id = f.id)" in plan, plan
    assert "Seq Scan" not in plan, plan

"""Every statement of every repository, on filled tables: no scan of a whole table, no subplan per row.

The calls are made of the functions' signatures, once with what they need and once with all that they take, so
that a new function is looked at without being named here. One whose arguments cannot be made fails.
"""

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import DefaultClause, Enum, event
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.exc import SQLAlchemyError

from little_monster.db import migrate, repositories
from little_monster.db.base import Base, new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import DatabaseError
from little_monster.db.models import Comment, PlannerEvent, Subject, Video, VideoStatus
from little_monster.db.repositories import exports
from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.embedding_collections import NewCollection
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.repositories.planner_events import NextReminder
from little_monster.db.repositories.user_documents import DocumentFilter
from little_monster.db.repositories.videos import VideoFilter, VideoOrder
from little_monster.db.session import Database

ROWS, USERS = 6_000, 300
NOW = datetime(2026, 6, 1, tzinfo=UTC)
# Checked columns, whose values cannot be any.
CHECKED = {"index_outbox": {"kind": "'check_document'", "document_id": "uuidv7()"}}
# One row a collection that exists, of which there are three at most.
FEW_ROWS = {"embedding_collections"}
HELPERS = "rows"
# Write what their caller has changed, and have no statement of their own.
WITHOUT_STATEMENT = {"planner_events.save"}
# Found by a unique key: what the policy asks, it asks of one row.
OF_ONE_ROW = {"ratings.delete"}
# Of operators alone: counts what should have been done long ago, which is little or an alarm.
OF_ALL_ROWS = {"index_outbox.overdue"}


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in pkgutil.iter_modules(repositories.__path__):
        if module.name == HELPERS:
            continue
        repository = importlib.import_module(f"{repositories.__name__}.{module.name}")
        for name, function in vars(repository).items():
            ours = inspect.iscoroutinefunction(function) and function.__module__ == repository.__name__
            if ours and not name.startswith("_"):
                yield f"{module.name}.{name}", function


FUNCTIONS = dict(_functions())
BY_SESSION = [name for name, one in FUNCTIONS.items() if "database" not in inspect.signature(one).parameters]
BY_KEY = sorted(set(FUNCTIONS) - set(BY_SESSION) - WITHOUT_STATEMENT)


def _value(name: str, hint: Any, me: UUID) -> Any:
    """Return something of this type, as a call would bring it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return next(iter(hint))
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(name, one, me) for one in inner)
    if inner and len(inner) == 1:
        return [_value(name, inner[0], me)]
    if inner:
        return {"title": "x"} if name == "changes" else {_value(name, inner[0], me): 1}
    made: dict[Any, Any] = {
        UUID: me if name in ("user_id", "viewer", "created_by", "creator") else new_id(),
        int: 20,
        float: 0.5,
        bool: True,
        str: "word",
        bytes: b"x" * 32,
        datetime: NOW,
        timedelta: timedelta(days=1),
        NewCollection: NewCollection("name", "model", "source", 384, 256),
        Comment: Comment(id=new_id(), text="Nice"),
        NewChunk: NewChunk(new_id(), 0, "Text", "0" * 64, 1, 0, 4),
        Counts: Counts(1, 2, next(iter(Unit))),
        Video: Video(id=new_id(), updated_at=NOW),
        NextReminder: NextReminder(new_id(), NOW, NOW),
        PlannerEvent: PlannerEvent(
            id=new_id(), user_id=me, title="T", start_date=NOW, end_date=NOW, uid=str(new_id())
        ),
    }
    return made[hint]


def _calls(name: str, me: UUID) -> Iterator[dict[str, Any]]:
    """Return the arguments of some calls of a function."""
    if name == "videos.list":
        yield from _lists_of_videos(me)
        return
    if name == "exports.rows":
        seen = {"created_at": NOW, "chunk_index": 3} | {
            name: new_id() for name in ("id", "document_id", "conversation_id")
        }
        for section, after in product(exports.SECTIONS, (None, seen)):
            yield {"name": section, "user_id": me, "after": after}
        return
    if name == "planner_events.save_all":
        yield {"changes": {new_id(): {"title": "x"}}}
        return
    if name == "user_documents.list":
        for wanted, later in product((DocumentFilter(), DocumentFilter(words="title7")), (False, True)):
            yield {"wanted": wanted, "limit": 21, "after": (NOW, new_id()) if later else None}
        return
    hints = typing.get_type_hints(FUNCTIONS[name])
    parameters = [*inspect.signature(FUNCTIONS[name]).parameters.values()][1:]
    fixed = [one for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
    for least in (True, False):
        given = [one.name for one in fixed if not least or one.default is inspect.Parameter.empty]
        call = {one: _value(one, hints[one], me) for one in given}
        if name == "planner_events.create":
            call |= {"title": "T", "start_date": NOW, "end_date": NOW, "uid": "x"}
        if name == "comments.moderate":
            call["changes"] = {"is_hidden": True}
        yield call


def _lists_of_videos(me: UUID) -> Iterator[dict[str, Any]]:
    public = VideoStatus.PUBLIC
    filters = (
        VideoFilter(public),
        VideoFilter(public, created_by=me),
        VideoFilter(VideoStatus.DRAFT, created_by=me),
        VideoFilter(public, subject=Subject.HISTORY),
        VideoFilter(public, words="title7"),
        VideoFilter(public, tags=("tag7",)),
    )
    for wanted, order, later in product(filters, VideoOrder, (False, True)):
        if order is VideoOrder.RELEVANCE and wanted.words is None:
            continue
        seen = (NOW if order is VideoOrder.NEWEST else Decimal(3), new_id())
        yield {"wanted": wanted, "order": order, "limit": 21, "after": seen if later else None}


def _fill(table: Any) -> str:
    """Return an INSERT of rows of some users; triggers and foreign keys are off."""
    values = {column.name: _made(column) for column in table.columns if _is_needed(column)}
    values |= CHECKED.get(table.name, {})
    return (
        f"INSERT INTO {table.name} ({', '.join(values)}) SELECT {', '.join(values.values())}"
        f" FROM generate_series(1, {ROWS}) n"
    )


def _is_needed(column: Any) -> bool:
    is_made = isinstance(column.server_default, DefaultClause) or column.computed or column.identity
    return column.name == "created_at" or not (column.nullable or is_made)


def _made(column: Any) -> str:
    kind = str(column.type.compile(dialect=dialect()))
    if column.unique:
        return {"UUID": "uuidv7()", "BYTEA": "uuid_send(uuidv7())"}.get(kind, "'only' || n")
    if column.name in ("user_id", "created_by", "video_created_by"):
        return f"(SELECT ids[1 + n % {USERS}] FROM people)"
    if isinstance(column.type, Enum):
        return f"(enum_range(NULL::{column.type.name}))[1]"
    return {
        "UUID": "uuidv7()",
        "TEXT": f"'{column.name}' || n",
        "BYTEA": "uuid_send(uuidv7())",
        "TIMESTAMP WITH TIME ZONE": "now() - n * interval '1 hour'",
        "TEXT[]": "ARRAY['read']",
        "BOOLEAN": "n % 2 = 0",
        "JSONB": "'{}'",
        "FLOAT": "n",
    }.get(kind, "1 + n % 5")


class Filled:
    """A database whose tables all have rows, and a user with some of them."""

    def __init__(self, url: str, app: asyncpg.Connection, me: UUID, tables: set[str]) -> None:
        self.engine = create_engine(url, pool_size=1)
        self.database = Database(self.engine)
        self.app, self.me, self.tables = app, me, tables

    async def statements(self, name: str) -> list[tuple[str, Any]]:
        """Return what calls of the function send; that they find or write something does not matter."""
        seen: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
            seen.append((sql, parameters[0] if isinstance(parameters, list) else parameters))

        event.listen(self.engine.sync_engine, "before_cursor_execute", note)
        for call in _calls(name, self.me):
            with suppress(DatabaseError, SQLAlchemyError):
                async with self.database.session(self.me) as session:
                    try:
                        await FUNCTIONS[name](session, **call)
                    finally:
                        await session.rollback()
        event.remove(self.engine.sync_engine, "before_cursor_execute", note)
        return seen

    async def plan(self, sql: str, parameters: Any) -> str:
        transaction = self.app.transaction()
        await transaction.start()
        await self.app.execute(f"SET LOCAL app.user_id = '{self.me}'")
        rows = await self.app.fetch(f"EXPLAIN {sql}", *parameters)
        await transaction.rollback()
        return "\n".join(row[0] for row in rows)

    def check(self, sql: str, plan: str, *, of_one_row: bool = False) -> None:
        for table in self.tables:
            assert f"Seq Scan on {table}" not in plan, f"{sql}\n{plan}"
        # In a WITH CHECK it is asked once for the one row that is written.
        if not sql.startswith("INSERT") and not of_one_row:
            assert "SubPlan" not in plan, f"{sql}\n{plan}"


@pytest.fixture(scope="module")
async def filled(postgres):
    name = await postgres.new_database()
    await migrate.upgrade(postgres.url("postgres", name), "lm_service")
    owner = await asyncpg.connect(postgres.url("postgres", name))
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(
        f"CREATE TEMP TABLE people AS SELECT array_agg(uuidv7()) AS ids FROM generate_series(1, {USERS})"
    )
    tables = {table.name: table for table in Base.metadata.sorted_tables if table.name not in FEW_ROWS}
    for table in tables.values():
        await owner.execute(_fill(table))
    await owner.execute(
        "INSERT INTO users (id, email, password_hash, display_name)"
        " SELECT id, id || '@example.org', '', '' FROM people, unnest(ids) id"
    )
    await owner.execute("UPDATE videos SET tags = ARRAY['tag' || abs(hashtext(id::text)) % 400]")
    await owner.execute(
        "UPDATE videos SET status = 'public', moderation_status = 'approved'"
        " WHERE abs(hashtext(id::text)) % 5 > 0"
    )
    me = UUID(str(await owner.fetchval("SELECT ids[7] FROM people")))
    await owner.execute("ANALYZE")
    app = await asyncpg.connect(postgres.url("lm_service", name), server_settings={"jit": "off"})
    yield (found := Filled(postgres.url("lm_service", name), app, me, set(tables)))
    await found.database.close()
    await app.close()
    await owner.close()


@pytest.mark.parametrize("name", [name for name in BY_SESSION if name not in WITHOUT_STATEMENT | OF_ALL_ROWS])
async def test_no_statement_reads_a_whole_table(filled, name):
    statements = await filled.statements(name)
    assert statements, "it sent nothing"
    for sql, parameters in statements:
        filled.check(sql, await filled.plan(sql, parameters), of_one_row=name in OF_ONE_ROW)


@pytest.mark.parametrize("name", BY_KEY)
async def test_nor_does_one_past_the_session(filled, name):
    sql = importlib.import_module(FUNCTIONS[name].__module__)._BY_ID.sql
    filled.check(sql, await filled.plan(sql, [new_id()]))


async def test_it_sees_what_it_looks_for(filled):
    """A statement that no index serves is found out."""
    sql = "SELECT id FROM videos WHERE title LIKE $1"
    with pytest.raises(AssertionError, match="Seq Scan on videos"):
        filled.check(sql, await filled.plan(sql, ["%x%"]))
    counted = "(SELECT count(*) FROM comments c WHERE c.video_id = v.id)"
    sql = f"SELECT id, {counted} FROM videos v ORDER BY created_at DESC LIMIT 20"
    plan = await filled.plan(sql, [])
    with pytest.raises(AssertionError, match="SubPlan"):
        filled.check(sql, plan)

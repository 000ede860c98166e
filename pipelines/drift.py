"""Compares the vector index with the passages in PostgreSQL, and makes it the same again.

Both are read in the order of ids, side by side, a page of each at a time. What differs is looked at once more
before it counts: documents come, go and are read anew meanwhile.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar
from uuid import UUID

from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import document_chunks, drift, index_outbox
from little_monster.db.repositories.drift import KnownChunk
from little_monster.db.session import Database
from little_monster.db.vectors.index import VectorIndex
from little_monster.db.vectors.stored import StoredPoint

PAGE = 1_000
_BEING_READ = (EmbeddingStatus.PENDING, EmbeddingStatus.PROCESSING)

_Row = TypeVar("_Row", KnownChunk, StoredPoint)
Kind = Literal["orphan", "missing", "foreign"]


@dataclass(frozen=True, slots=True)
class Difference:
    """`orphan` is a point without its passage, `missing` a passage without its point, `foreign` a point that
    names another owner or document than its passage has."""

    kind: Kind
    point: StoredPoint | None = None
    chunk: KnownChunk | None = None

    @property
    def document_id(self) -> UUID:
        """The document that it is about."""
        one = self.chunk or self.point
        assert one is not None, "a difference is about something"
        return one.document_id

    @property
    def owner(self) -> UUID:
        """Whose that is."""
        one = self.chunk or self.point
        assert one is not None, "a difference is about something"
        return one.owner


@dataclass(slots=True)
class Seen:
    """How much was read."""

    points: int = 0
    chunks: int = 0


async def differences(database: Database, index: VectorIndex, seen: Seen) -> AsyncIterator[list[Difference]]:
    """Yield what differs, some at a time; only what still does when it is looked at again."""
    waiting: list[Difference] = []
    async for one in _compared(_points(index, seen), _chunks(database, seen)):
        waiting.append(one)
        if len(waiting) >= PAGE:
            yield await _confirmed(database, index, waiting)
            waiting = []
    if waiting:
        yield await _confirmed(database, index, waiting)


async def mend(index: VectorIndex, found: Sequence[Difference]) -> set[tuple[UUID, UUID]]:
    """Delete the points that should not be there; return (owner, document) of those whose points must be
    written."""
    gone: dict[UUID, list[UUID]] = defaultdict(list)
    for one in found:
        if one.point is not None:
            gone[one.point.owner].append(one.point.id)
    for owner, ids in gone.items():
        await index.delete(owner, ids)
    return {(one.owner, one.document_id) for one in found if one.kind != "orphan"}


async def have_written(database: Database, documents: set[tuple[UUID, UUID]]) -> None:
    """Note that the points of these (owner, document) must be looked at."""
    by_owner: dict[UUID, list[UUID]] = defaultdict(list)
    for owner, document_id in documents:
        by_owner[owner].append(document_id)
    async with database.session(None) as session:
        for owner, document_ids in by_owner.items():
            await index_outbox.add_checks(session, owner, document_ids)


async def _compared(
    points: AsyncIterator[StoredPoint], chunks: AsyncIterator[KnownChunk]
) -> AsyncIterator[Difference]:
    point, chunk = await anext(points, None), await anext(chunks, None)
    while point is not None or chunk is not None:
        if chunk is None or (point is not None and point.id < chunk.id):
            yield Difference("orphan", point)
            point = await anext(points, None)
        elif point is None or chunk.id < point.id:
            if chunk.status == EmbeddingStatus.COMPLETED:
                yield Difference("missing", chunk=chunk)
            chunk = await anext(chunks, None)
        else:
            if (point.owner, point.document_id) != (chunk.owner, chunk.document_id):
                yield Difference("foreign", point, chunk)
            point, chunk = await anext(points, None), await anext(chunks, None)


async def _confirmed(database: Database, index: VectorIndex, found: list[Difference]) -> list[Difference]:
    documents, owners = {one.document_id for one in found}, {one.owner for one in found}
    async with database.session(None) as session:
        states = await drift.states(session, [*documents])
        busy = await index_outbox.about(session, [*documents], [*owners])
    # What is being read, and what somebody is about to change anyway, is as it should be.
    still = [
        one
        for one in found
        if one.kind == "foreign"
        or not ({one.document_id, one.owner} & busy or states.get(one.document_id) in _BEING_READ)
    ]
    rows = await _rows_of(database, still)
    return [one for one in still if await _is_so(index, one, rows)]


async def _rows_of(database: Database, found: Sequence[Difference]) -> set[UUID]:
    """Return the ids of those passages that are there now."""
    ids: dict[UUID, list[UUID]] = defaultdict(list)
    for one in found:
        ids[one.owner].append(_id(one))
    there: set[UUID] = set()
    for owner, chunk_ids in ids.items():
        async with database.session(owner) as session:
            there |= {row.chunk.id for row in await document_chunks.get_many(session, chunk_ids)}
    return there


async def _is_so(index: VectorIndex, one: Difference, rows: set[UUID]) -> bool:
    match one.kind:
        case "orphan":
            return _id(one) not in rows
        case "missing":
            return _id(one) in rows and not await _has_point(index, _id(one))
        case "foreign":
            return True


async def _has_point(index: VectorIndex, point_id: UUID) -> bool:
    found = await index.scan(UUID(int=max(point_id.int - 1, 0)), 1)
    return bool(found) and found[0].id == point_id


def _id(one: Difference) -> UUID:
    row = one.chunk or one.point
    assert row is not None, "a difference is about something"
    return UUID(int=row.id.int)


async def _points(index: VectorIndex, seen: Seen) -> AsyncIterator[StoredPoint]:
    async for point in _paged(index.scan):
        seen.points += 1
        yield point


async def _chunks(database: Database, seen: Seen) -> AsyncIterator[KnownChunk]:
    async def page(after: UUID | None, limit: int) -> list[KnownChunk]:
        async with database.session(None) as session:
            return await drift.scan_chunks(session, after, limit)

    async for chunk in _paged(page):
        seen.chunks += 1
        yield chunk


async def _paged(page: Callable[[UUID | None, int], Awaitable[list[_Row]]]) -> AsyncIterator[_Row]:
    after: UUID | None = None
    while rows := await page(after, PAGE):
        for row in rows:
            yield row
        after = rows[-1].id

"""Makes the vector index and the file storage what the database says, change by change.

Triggers note each change in the transaction that makes it necessary. Here it is made, again and again until
it succeeds; a note says what to look at, and how things are is looked up when it is worked on. What was
deleted is deleted once more when nobody can be writing it any longer: a worker that was ingesting it, or that
had its vectors on the way, finds out in seconds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.embedding_collections import CollectionState
from little_monster.db.models.index_outbox import ChangeKind, IndexChange
from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import document_chunks, index_outbox, user_documents, users
from little_monster.db.session import Database
from little_monster.db.vectors.index import Point
from little_monster.pipelines.stages.embed import embed_batches, embedded_text
from little_monster.pipelines.stages.store import points
from little_monster.platform.errors import Unavailable
from little_monster.platform.services.collections import OpenCollection, Shelf
from little_monster.platform.storage import FileStorage

BATCH = 50
MAX_BATCHES = 20
WATCHED = timedelta(seconds=45)
"""How long after a deletion what was deleted is looked after."""
_AT_ONCE = 4
_ALL = 2**31 - 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileParts:
    """What the changes are made in."""

    database: Database
    storage: FileStorage
    shelf: Shelf
    watched: timedelta = WATCHED


async def reconcile(parts: ReconcileParts, *, batch: int = BATCH, max_batches: int = MAX_BATCHES) -> int:
    """Make the changes that are due, and return how many were made. It may be stopped, repeated and run by
    many; what fails is tried again later.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    made = 0
    for _ in range(max_batches):
        async with parts.database.session(None) as session:
            changes = await index_outbox.take(session, limit=batch)
        done = await _made_of(parts, changes)
        await _record(parts, done)
        made += len(done)
        if len(changes) < batch:
            break
    if made:
        _log.info("reconciled", changes=made)
    return made


async def _made_of(parts: ReconcileParts, changes: Sequence[IndexChange]) -> list[IndexChange]:
    """Make changes, a few at a time, and return those that were made."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def make(change: IndexChange) -> bool:
        async with places:
            return await _made(parts, change)

    made = await asyncio.gather(*(make(change) for change in changes))
    return [change for change, is_made in zip(changes, made, strict=True) if is_made]


async def _made(parts: ReconcileParts, change: IndexChange) -> bool:
    try:
        await _make(parts, change)
    except (Unavailable, DatabaseUnavailable) as error:
        _log.warning("change_put_off", kind=change.kind, attempts=change.attempts, error=type(error).__name__)
    except Exception:
        _log.exception("change_failed", kind=change.kind, attempts=change.attempts)
    else:
        return True
    return False


async def _record(parts: ReconcileParts, made: Sequence[IndexChange]) -> None:
    """Forget what is made, but for deletions so young that somebody may still be writing: they are made once
    more when nobody can be."""
    if not made:
        return
    young_since = datetime.now(UTC) - parts.watched
    young = [
        change.id
        for change in made
        if change.kind in (ChangeKind.DELETE_DOCUMENT, ChangeKind.DELETE_OWNER)
        and change.created_at > young_since
    ]
    async with parts.database.session(None) as session:
        await index_outbox.repeat(session, young, parts.watched)
        await index_outbox.done(session, [change.id for change in made if change.id not in {*young}])


async def _make(parts: ReconcileParts, change: IndexChange) -> None:
    match change.kind:
        case ChangeKind.DELETE_OWNER:
            await _delete_owner(parts, change.user_id)
        case ChangeKind.DELETE_DOCUMENT:
            await _delete_document(parts, change)
        case ChangeKind.CHECK_DOCUMENT:
            await _check_document(parts, _document_id(change), change.user_id)
        case ChangeKind.SET_PAYLOAD:
            await _set_payload(parts, _document_id(change), change.user_id)


async def _delete_owner(parts: ReconcileParts, owner: UUID) -> None:
    async with parts.database.session(owner) as session:
        if await users.exists(session, owner):
            return  # A restored backup has it again.
    for collection in await parts.shelf.all():
        await collection.index.delete_owner(owner)
    await parts.storage.delete_prefix(str(owner))


async def _delete_document(parts: ReconcileParts, change: IndexChange) -> None:
    owner, document_id = change.user_id, _document_id(change)
    async with parts.database.session(owner) as session:
        if await user_documents.get(session, document_id) is not None:
            return
    await _delete_points(parts, owner, document_id)
    await parts.storage.delete_prefix(f"{owner}/{document_id}")
    if change.key is not None and change.key.startswith(f"{owner}/"):
        await parts.storage.delete(change.key)


async def _delete_points(parts: ReconcileParts, owner: UUID, document_id: UUID) -> None:
    for collection in await parts.shelf.all():
        await collection.index.delete_document(owner, document_id)


async def _check_document(parts: ReconcileParts, document_id: UUID, owner: UUID) -> None:
    for collection in await parts.shelf.all():
        await write_document(parts.database, collection, owner, document_id)


async def write_document(
    database: Database, collection: OpenCollection, owner: UUID, document_id: UUID
) -> None:
    """Make the points of a document in one collection those of its passages, if it is ready.

    Who ingested it wrote those of the live collection, which are left alone when as many are there as should
    be: searches find them meanwhile. In the others, which nobody searches, old ones give way to new ones.
    """
    async with database.session(owner) as session:
        document = await user_documents.get(session, document_id)
        rows = await document_chunks.list(session, document_id, limit=_ALL)
    if document is None or document.embedding_status != EmbeddingStatus.COMPLETED:
        return
    live = collection.row.state == CollectionState.LIVE
    if live and await collection.index.count(owner, document_id) == len(rows):
        return
    made: list[Point] = []
    texts = [embedded_text(row.headings, row.content) for row in rows]
    async for first, vectors in embed_batches(collection.embedder, texts):
        made += points(document, rows[first : first + len(vectors)], vectors)
    if not live:
        await collection.index.delete_document(owner, document_id)
    await collection.index.upsert(made)
    if live and await collection.index.count(owner, document_id) != len(rows):
        await collection.index.delete_document(owner, document_id)
        await collection.index.upsert(made)
    async with database.session(owner) as session:
        gone = await user_documents.get(session, document_id) is None
    if gone:
        await collection.index.delete_document(owner, document_id)


async def _set_payload(parts: ReconcileParts, document_id: UUID, owner: UUID) -> None:
    async with parts.database.session(owner) as session:
        document = await user_documents.get(session, document_id)
    if document is not None:
        for collection in await parts.shelf.all():
            await collection.index.set_payload(owner, document_id, {"subject": document.subject})


def _document_id(change: IndexChange) -> UUID:
    assert change.document_id is not None, "a change of a document names it"
    return change.document_id

"""What has still to be changed in the vector index and the file storage; for nobody's session alone."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from little_monster.db.models.index_outbox import ChangeKind, IndexChange
from little_monster.db.repositories.rows import Rows, changed
from little_monster.db.session import Session

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 15.0
"""Seconds until a change that failed is tried again: twice as many each time, up to the second number."""

DRIFT = "drift"
"""The key of a change that no trigger noted."""


async def take(session: Session, *, limit: int) -> Rows[IndexChange]:
    """Return at most `limit` changes that are due, and put them off, so that nobody else takes them while
    they are made, and so that they are taken again when that fails."""
    due = select(IndexChange.id).where(IndexChange.next_at <= func.now()).order_by(IndexChange.next_at)
    due = due.limit(limit).with_for_update(skip_locked=True)
    pause_s = func.least(FIRST_PAUSE_S * func.power(2, func.least(IndexChange.attempts, 10)), LONGEST_PAUSE_S)
    query = (
        update(IndexChange)
        .where(IndexChange.id.in_(due))
        .values(
            attempts=IndexChange.attempts + 1,
            next_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, pause_s),
        )
        .returning(IndexChange)
        .execution_options(synchronize_session=False)
    )
    return sorted(await session.scalars(query), key=lambda change: change.id)


async def done(session: Session, ids: Sequence[int]) -> None:
    """Forget changes that are made."""
    await changed(session, delete(IndexChange).where(IndexChange.id.in_(ids)))


async def repeat(session: Session, ids: Sequence[int], age: timedelta) -> None:
    """Have changes made once more when they are so old."""
    query = update(IndexChange).where(IndexChange.id.in_(ids))
    await changed(session, query.values(next_at=IndexChange.created_at + age, attempts=0))


async def add_checks(session: Session, user_id: UUID, document_ids: Sequence[UUID]) -> None:
    """Have the points of some documents of a user looked at, as they differ from what they should be."""
    check = {"kind": ChangeKind.CHECK_DOCUMENT.value, "user_id": user_id, "key": DRIFT}
    rows = [{**check, "document_id": one} for one in document_ids]
    if rows:
        await session.execute(insert(IndexChange), rows)


async def about(session: Session, document_ids: Sequence[UUID], owners: Sequence[UUID]) -> set[UUID]:
    """Return those of the documents and of the owners that a change waits for, other than `add_checks`."""
    document = IndexChange.document_id
    wanted = document.in_(document_ids) | (document.is_(None) & IndexChange.user_id.in_(owners))
    query = select(func.coalesce(document, IndexChange.user_id))
    return {*await session.scalars(query.where(wanted, IndexChange.key.is_distinct_from(DRIFT)))}


async def overdue(session: Session, after: timedelta) -> int:
    """Count the changes that should have been made by now; deletions that are made and only watched, as
    somebody might still have been writing, have no attempts."""
    query = select(func.count()).select_from(IndexChange)
    return int(
        await session.scalar(
            query.where(
                IndexChange.created_at < func.now() - after,
                (IndexChange.attempts > 0) | (IndexChange.next_at < func.now() - after),
            )
        )
        or 0
    )

"""The collections of the vector index; for nobody's session alone."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from little_monster.db.models.embedding_collections import CollectionState, EmbeddingCollection
from little_monster.db.repositories.rows import Rows, changed
from little_monster.db.session import Session


@dataclass(frozen=True, slots=True)
class NewCollection:
    """A collection and its model; the fields mean what they mean in `EmbeddingCollection`."""

    name: str
    model: str
    source: str
    dimension: int
    max_tokens: int


async def list(session: Session) -> Rows[EmbeddingCollection]:
    """Return all of them, the live one first."""
    found = await session.scalars(select(EmbeddingCollection).order_by(EmbeddingCollection.created_at))
    return sorted(found, key=lambda one: one.state != CollectionState.LIVE)


async def get(session: Session, state: CollectionState) -> EmbeddingCollection | None:
    """Return the one in this state."""
    return await session.scalar(select(EmbeddingCollection).where(EmbeddingCollection.state == state))


async def add(session: Session, new: NewCollection, state: CollectionState) -> bool:
    """Add a collection; False when there is one in this state, or of this name."""
    values: dict[str, Any] = {name: getattr(new, name) for name in NewCollection.__slots__}
    query = insert(EmbeddingCollection).values(state=state.value, **values).on_conflict_do_nothing()
    return await changed(session, query) == 1


async def set_filled(session: Session, name: str, filled_to: UUID) -> bool:
    """Note how far a collection that is being built is filled; False when it is that no longer."""
    query = update(EmbeddingCollection).where(
        EmbeddingCollection.name == name, EmbeddingCollection.state == CollectionState.BUILDING
    )
    return await changed(session, query.values(filled_to=filled_to)) == 1


async def swap(session: Session, state: CollectionState) -> bool:
    """Make the collection in `state` the live one, and the live one the previous; False when one of both is
    missing, or there is another previous one."""
    rows = {row.state: row for row in await session.scalars(select(EmbeddingCollection).with_for_update())}
    live, other = rows.get(CollectionState.LIVE), rows.get(state)
    spare = rows.get(CollectionState.PREVIOUS)
    if live is None or other is None or spare not in (None, other):
        return False
    names = {live.name: CollectionState.PREVIOUS, other.name: CollectionState.LIVE}
    # The index that allows one of a state looks at each row as it is written: first out of the way.
    await changed(session, sql_delete(EmbeddingCollection).where(EmbeddingCollection.name.in_(names)))
    for row in (live, other):
        values = {column.key: getattr(row, column.key) for column in EmbeddingCollection.__table__.columns}
        values.update(state=names[row.name].value, changed_at=func.now())
        await session.execute(insert(EmbeddingCollection).values(values))
    return True


async def remove(session: Session, state: CollectionState) -> bool:
    """Forget the collection in this state; False when there is none."""
    return (
        await changed(session, sql_delete(EmbeddingCollection).where(EmbeddingCollection.state == state)) == 1
    )

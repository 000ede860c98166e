"""The collections of the vector index, and which of them is live."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from little_monster.db.base import Base, Created


class CollectionState(StrEnum):
    """`building` is being filled, `live` is searched, `previous` was so before and is kept up to date."""

    BUILDING = "building"
    LIVE = "live"
    PREVIOUS = "previous"


class EmbeddingCollection(Created, Base):
    """One collection, and the model whose vectors it holds (`source`, `model`, `dimension` and `max_tokens`
    are those of `EmbedderInfo`). There is at most one in each state. `filled_to` is the last document, in the
    order of ids, up to which a collection that is being built is filled.
    """

    __tablename__ = "embedding_collections"
    __table_args__ = (
        CheckConstraint("state IN ('building', 'live', 'previous')", name="state"),
        Index("embedding_collections_state_idx", "state", unique=True),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    model: Mapped[str]
    source: Mapped[str]
    dimension: Mapped[int]
    max_tokens: Mapped[int]
    filled_to: Mapped[UUID | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=91)

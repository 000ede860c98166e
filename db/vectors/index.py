"""The vector index: what is kept of a chunk there, and what can be asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk in the index. `id` is derived from content, so that writing it twice changes nothing."""

    id: UUID
    owner: UUID
    document_id: UUID
    vector: list[float]
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """A found chunk; `score` is the cosine similarity (-1 to 1)."""

    id: UUID
    document_id: UUID
    score: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as it is told apart from others: whose it is, without vector and text."""

    id: UUID
    owner: UUID
    document_id: UUID


class VectorIndex(Protocol):
    """The vector index. No call reads without an owner: the filter is applied below this line. Only `scan`,
    which is the operator's and shows no text, sees all.

    Every call makes the collection where it is missing.

    Raises:
        IndexUnavailable: the index does not answer.
        DimensionMismatch: vectors of another dimension are given, or stored already.
    """

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write points, in the place of those with the same id; when it returns, they can be found."""
        ...

    async def search(
        self, owner: UUID, vector: Sequence[float], *, limit: int, document_ids: Sequence[UUID] = ()
    ) -> list[Hit]:
        """Return at most `limit` points of `owner`, nearest first; only of `document_ids` where given."""
        ...

    async def delete_document(self, owner: UUID, document_id: UUID) -> None:
        """Remove all points of a document; one that has none is fine."""
        ...

    async def delete_owner(self, owner: UUID) -> None:
        """Remove all points of an owner; one who has none is fine."""
        ...

    async def delete(self, owner: UUID, ids: Sequence[UUID]) -> None:
        """Remove those of the points that are the owner's; missing ones are fine."""
        ...

    async def scan(self, after: UUID | None, limit: int) -> list[StoredPoint]:
        """Return at most `limit` points of all owners behind the id `after`, in the order of their ids; for
        the check of drift alone."""
        ...

    async def count(self, owner: UUID, document_id: UUID | None = None) -> int:
        """Count the points of an owner, or of one document of theirs."""
        ...

    async def check(self) -> None:
        """Return when the index answers."""
        ...

    async def close(self) -> None:
        """Let go of files or connections."""
        ...

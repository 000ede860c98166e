"""The vector index: what is kept of a chunk there, and what can be asked of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from little_monster.db.vectors.stored import StoredPoint


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Weights of terms: `indices` are distinct ids of terms (32 bit), each with its value."""

    indices: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk in the index. `id` is derived from content, so that writing it twice changes nothing.

    `vector` says what the chunk means, `sparse` which terms stand in it; one without terms is found by its
    meaning only.
    """

    id: UUID
    owner: UUID
    document_id: UUID
    vector: list[float]
    sparse: SparseVector = field(default_factory=SparseVector)
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """What to be near to: a vector, terms, or both."""

    vector: Sequence[float] | None = None
    sparse: SparseVector = field(default_factory=SparseVector)


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which points of an owner are searched: those that fit each of what is given.

    `subjects`, `file_types` and `headings` fit with any one of theirs; a heading is compared whole, whatever
    its case and spaces, with each heading that the passage stands under. `created_from` is included,
    `created_before` is not.
    """

    document_ids: tuple[UUID, ...] = ()
    subjects: tuple[str, ...] = ()
    file_types: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None


EVERYTHING = SearchFilter()


@dataclass(frozen=True, slots=True)
class Hit:
    """A found chunk; `score` is 0 to 1, higher is better, and means something only beside the other hits of
    the same search."""

    id: UUID
    document_id: UUID
    score: float
    payload: dict[str, Any]


IndexCall = Literal[
    "upsert",
    "search",
    "set_payload",
    "delete_document",
    "delete_owner",
    "delete",
    "scan",
    "count",
    "check",
]
"""What can be asked of an index from another process."""


class VectorIndex(Protocol):
    """The vector index. No call reads without an owner: the filter is applied below this line. Only `scan`,
    which is the operator's and shows no text, sees all.

    Every call makes the collection where it is missing.

    Raises:
        IndexUnavailable: the index does not answer.
        IncompatibleIndex: what is stored has another shape; it must be filled anew.
        DimensionMismatch: vectors of another dimension are given, or stored already.
    """

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write points, in the place of those with the same id; when it returns, they can be found."""
        ...

    async def search(
        self, owner: UUID, query: Query, *, limit: int, where: SearchFilter = EVERYTHING
    ) -> list[Hit]:
        """Return at most `limit` points of `owner`, best first; points alike in score in the order of their
        ids."""
        ...

    async def set_payload(self, owner: UUID, document_id: UUID, values: Mapping[str, Any]) -> None:
        """Give the payload of all points of a document other `values`; a document without points is fine."""
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

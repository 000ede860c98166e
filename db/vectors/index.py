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


class VectorIndex(Protocol):
    """The vector index. No call reads without an owner: the filter is applied below this line, not by the caller."""

    async def upsert(self, points: Sequence[Point]) -> None: ...

    async def search(
        self, owner: UUID, vector: Sequence[float], *, limit: int, document_ids: Sequence[UUID] = ()
    ) -> list[Hit]: ...

    async def delete_document(self, owner: UUID, document_id: UUID) -> None: ...

    async def count(self, owner: UUID, document_id: UUID | None = None) -> int: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...

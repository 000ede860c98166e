"""Points as they are told apart for the check of drift: whose they are, without vector and text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

_LAST = 2**128 - 1


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point, and what its payload says of whose it is."""

    id: UUID
    owner: UUID
    document_id: UUID


def to_stored(point_id: object, payload: Mapping[str, Any] | None) -> StoredPoint:
    """Return whose a stored point is."""
    whose = payload or {}
    return StoredPoint(UUID(str(point_id)), UUID(whose["user_id"]), UUID(whose["document_id"]))


def behind(after: UUID | None) -> UUID | None:
    """Return the id that a scan behind `after` begins with; None from the start."""
    return None if after is None else UUID(int=min(after.int + 1, _LAST))

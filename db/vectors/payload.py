"""What both adapters agree on: the keys of a point's payload, and the dimension of its vector."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from little_monster.db.errors import DimensionMismatch
from little_monster.db.vectors.index import Hit, Point, StoredPoint

OWNER, DOCUMENT = "user_id", "document_id"
_LAST = 2**128 - 1


def to_payload(point: Point) -> dict[str, Any]:
    """Return what is stored beside the vector; owner and document stand above what the caller gave."""
    return {**point.payload, OWNER: str(point.owner), DOCUMENT: str(point.document_id)}


def to_hit(point_id: object, score: float, payload: Mapping[str, Any] | None) -> Hit:
    """Return what was found, with the payload as the caller gave it."""
    rest = dict(payload or {})
    rest.pop(OWNER, None)
    return Hit(UUID(str(point_id)), UUID(rest.pop(DOCUMENT)), score, rest)


def to_stored(point_id: object, payload: Mapping[str, Any] | None) -> StoredPoint:
    """Return whose a stored point is."""
    whose = payload or {}
    return StoredPoint(UUID(str(point_id)), UUID(whose[OWNER]), UUID(whose[DOCUMENT]))


def behind(after: UUID | None) -> UUID | None:
    """Return the id that a scan behind `after` begins with; None from the start."""
    return None if after is None else UUID(int=min(after.int + 1, _LAST))


def check_dimension(vector: Sequence[float], dimension: int) -> None:
    """Return when the vector fits.

    Raises:
        DimensionMismatch: it does not.
    """
    if len(vector) != dimension:
        raise DimensionMismatch(f"a vector of {len(vector)} numbers, and the index has {dimension}")

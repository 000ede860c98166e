"""What both adapters agree on: the names of vectors, the keys of a point's payload, and the dimension."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from little_monster.db.errors import DimensionMismatch
from little_monster.db.vectors.index import Hit, Point, SearchFilter

DENSE, SPARSE = "dense", "sparse"
OWNER, DOCUMENT = "user_id", "document_id"
SUBJECT, FILE_TYPE, HEADINGS, CREATED = "subject", "file_type", "headings", "created_at"

KEYWORDS = (OWNER, DOCUMENT, SUBJECT, FILE_TYPE, HEADINGS)
"""Keys with an index of whole values; `CREATED` has one of times."""


def to_payload(point: Point) -> dict[str, Any]:
    """Return what is stored beside the vectors; owner and document stand above what the caller gave."""
    return {**storable(point.payload), OWNER: str(point.owner), DOCUMENT: str(point.document_id)}


def storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they are stored and compared: times in UTC, headings without case."""
    stored = {key: value for key, value in values.items() if key not in (OWNER, DOCUMENT)}
    if isinstance(stored.get(CREATED), datetime):
        stored[CREATED] = instant(stored[CREATED])
    if HEADINGS in stored:
        stored[HEADINGS] = [plain(heading) for heading in stored[HEADINGS]]
    return stored


def to_hit(point_id: UUID, score: float, payload: Mapping[str, Any]) -> Hit:
    """Return what was found, with the payload as it is stored, but for owner and document."""
    rest = dict(payload)
    rest.pop(OWNER, None)
    return Hit(point_id, UUID(rest.pop(DOCUMENT)), score, rest)


def choices(where: SearchFilter) -> dict[str, list[str]]:
    """Return the values that fit, by the key that must have one of them."""
    wanted = {
        DOCUMENT: [str(document_id) for document_id in where.document_ids],
        SUBJECT: [*where.subjects],
        FILE_TYPE: [*where.file_types],
        HEADINGS: [plain(heading) for heading in where.headings],
    }
    return {key: values for key, values in wanted.items() if values}


def plain(heading: str) -> str:
    """Return a heading as it is compared: without case, with single spaces."""
    return " ".join(heading.casefold().split())


def instant(moment: datetime) -> str:
    """Return a moment as it is stored and compared: RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat()


def check_dimension(vector: Sequence[float], dimension: int) -> None:
    """Return when the vector fits.

    Raises:
        DimensionMismatch: it does not.
    """
    if len(vector) != dimension:
        raise DimensionMismatch(f"a vector of {len(vector)} numbers, and the index has {dimension}")

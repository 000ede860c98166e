"""Comments and videos that wait for the verdict of moderation, whosever they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text

from little_monster.db.repositories.rows import After
from little_monster.db.session import Session

# Any number, the same for all who look through them.
_TURN = 7_045_771_205


class Pending(StrEnum):
    """What waits."""

    COMMENTS = "comments"
    VIDEOS = "videos"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One that waits; what it says is read as its owner."""

    id: UUID
    owner: UUID
    created_at: datetime

    @property
    def key(self) -> tuple[datetime, UUID]:
        """Where it stands in `find`."""
        return self.created_at, self.id


async def take_turn(session: Session) -> bool:
    """Let nobody else take a turn before this transaction ends; False when somebody has it."""
    taken: bool = (
        await session.execute(text("SELECT pg_try_advisory_xact_lock(:turn)"), {"turn": _TURN})
    ).scalar_one()
    return taken


async def find(session: Session, kind: Pending, *, limit: int, after: After = None) -> Sequence[Waiting]:
    """Return at most `limit` that wait, oldest first, behind `after`; works for nobody's session."""
    query = text(f"SELECT * FROM content.find_pending_{kind}(:limit, :seen_at, :seen_id)")
    seen_at, seen_id = after or (None, None)
    values = {"limit": limit, "seen_at": seen_at, "seen_id": seen_id}
    return [Waiting(**row) for row in (await session.execute(query, values)).mappings()]

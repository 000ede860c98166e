"""What became of a transaction, for who was cut off from its answer."""

from enum import StrEnum

from sqlalchemy import text

from little_monster.db.session import Session

# A number above one that is given out now is of another server, or of what a restored one has lost.
_OUTCOME = text("""
    SELECT CASE WHEN n.number < pg_current_xact_id()
        THEN coalesce(pg_xact_status(n.number), 'committed') ELSE 'aborted' END
    FROM (SELECT CAST(CAST(:number AS text) AS xid8) AS number) n
""")


class Outcome(StrEnum):
    """How a transaction ended, if it did. One that ended so long ago that nobody knows counts as
    committed."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_PROGRESS = "in progress"


async def number_of(session: Session) -> str:
    """Return the number of the session's transaction, under which `outcome` finds it."""
    number: str = (await session.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one()
    return number


async def outcome(session: Session, number: str) -> Outcome:
    """Return what became of the transaction with this number."""
    return Outcome((await session.execute(_OUTCOME, {"number": number})).scalar_one())

"""Log-ins that last.

Who ends one or uses it locks its row first and its refresh tokens afterwards, so that no token of an ended
session is made at the same moment.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update

from little_monster.db.models.sessions import LoginSession
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import After, Rows, changed, insert, newest_first
from little_monster.db.session import Database, Session

_BY_ID = ByKey(LoginSession)


async def create(
    session: Session, *, session_id: UUID, user_id: UUID, user_agent: str | None, address_prefix: str | None
) -> LoginSession:
    """Insert a session, whose id all its refresh tokens have as `family_id`."""
    row = LoginSession(id=session_id, user_id=user_id, user_agent=user_agent, address_prefix=address_prefix)
    return await insert(session, row)


async def list(
    session: Session, *, limit: int, after: After = None, used_within: timedelta
) -> Rows[LoginSession]:
    """Return at most `limit` sessions that are not revoked and were used in the last `used_within`, newest
    first, behind `after` (`key` of the last one seen)."""
    query = select(LoginSession).where(
        LoginSession.revoked_at.is_(None), LoginSession.last_used_at > func.now() - used_within
    )
    ordered = newest_first(query, LoginSession.created_at, LoginSession.id, limit=limit, after=after)
    return [*await session.scalars(ordered)]


async def read(database: Database, user_id: UUID, session_id: UUID) -> LoginSession | None:
    """Return the user's session, also one that is revoked, in a transaction of its own, as it is now: it
    decides what a token is good for."""
    return await database.read(user_id, _BY_ID, session_id, fresh=True)


def key(row: LoginSession) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def knows_network(session: Session, address_prefix: str) -> bool:
    """Say whether the user of the session has ever logged in from this network."""
    query = select(LoginSession.id).where(LoginSession.address_prefix == address_prefix).limit(1)
    return await session.scalar(query) is not None


async def use(session: Session, session_id: UUID) -> bool:
    """Note that the session is used now, and hold it until the transaction ends; False when it is revoked."""
    query = update(LoginSession).where(LoginSession.id == session_id, LoginSession.revoked_at.is_(None))
    return await changed(session, query.values(last_used_at=func.now())) == 1


async def revoke(session: Session, session_id: UUID) -> bool:
    """Revoke the session; False when there is none, or it was revoked before."""
    query = update(LoginSession).where(LoginSession.id == session_id, LoginSession.revoked_at.is_(None))
    return await changed(session, query.values(revoked_at=func.now())) == 1


async def revoke_all(session: Session, user_id: UUID, *, but: UUID | None = None) -> int:
    """Revoke all sessions of the user but one; return how many were still good."""
    query = update(LoginSession).where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
    if but is not None:
        query = query.where(LoginSession.id != but)
    return await changed(session, query.values(revoked_at=func.now()))

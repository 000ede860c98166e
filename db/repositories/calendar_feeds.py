"""Secret addresses of calendars."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, text, update

from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.repositories.rows import After, Rows, changed, insert, newest_first
from little_monster.db.session import Session

# Calendar programs come every few minutes: not each time is worth a write.
_USE_NOTED_EVERY = timedelta(minutes=10)


async def create(session: Session, *, user_id: UUID, token_hash: bytes) -> CalendarFeed:
    """Insert a feed; `token_hash` is the SHA-256 of its token, 32 bytes.

    Raises:
        DuplicateKey: `calendar_feeds_token_hash_key`.
    """
    return await insert(session, CalendarFeed(user_id=user_id, token_hash=token_hash))


async def find_owner(session: Session, token_hash: bytes) -> UUID | None:
    """Return whose feed it is, unless it is revoked; works for nobody's session."""
    query = text("SELECT planner.find_feed_owner(:token_hash)")
    owner: UUID | None = await session.scalar(query, {"token_hash": token_hash})
    return owner


async def get(session: Session, feed_id: UUID) -> CalendarFeed | None:
    """Return the feed; None also for somebody else's."""
    return await session.get(CalendarFeed, feed_id)


async def list(session: Session, *, limit: int, after: After = None) -> Rows[CalendarFeed]:
    """Return at most `limit` feeds, newest first, revoked ones too, behind `after`."""
    query = newest_first(
        select(CalendarFeed), CalendarFeed.created_at, CalendarFeed.id, limit=limit, after=after
    )
    return [*await session.scalars(query)]


async def count_good(session: Session) -> int:
    """Return how many of the user's feeds are not revoked."""
    query = select(func.count()).select_from(CalendarFeed).where(CalendarFeed.revoked_at.is_(None))
    return await session.scalar(query) or 0


async def touch(session: Session, token_hash: bytes) -> None:
    """Note that the feed was read, to within ten minutes."""
    stale = or_(
        CalendarFeed.last_used_at.is_(None), CalendarFeed.last_used_at < func.now() - _USE_NOTED_EVERY
    )
    query = update(CalendarFeed).where(CalendarFeed.token_hash == token_hash, stale)
    await changed(session, query.values(last_used_at=func.now()))


async def revoke(session: Session, feed_id: UUID) -> bool:
    """Revoke one feed; False when there is none that is good."""
    query = update(CalendarFeed).where(CalendarFeed.id == feed_id, CalendarFeed.revoked_at.is_(None))
    return await changed(session, query.values(revoked_at=func.now())) == 1


async def revoke_all(session: Session) -> int:
    """Revoke all of the user's feeds; return how many were good."""
    query = update(CalendarFeed).where(CalendarFeed.revoked_at.is_(None))
    return await changed(session, query.values(revoked_at=func.now()))

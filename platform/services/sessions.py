"""Log-ins that last: where a user is logged in, and how that ends.

An access token is not looked up, so that one of a session that has ended lives on for its last minutes; but
it is no log-in any more, which `require_session` asks before anything that outlasts it.
"""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.models.sessions import LoginSession
from little_monster.db.repositories import refresh_tokens, sessions
from little_monster.db.session import Session
from little_monster.platform.errors import NotFound
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, invalid_token
from little_monster.platform.services import audit
from little_monster.platform.services.audit import SecurityEvent


async def start(session: Session, user_id: UUID, origin: Origin) -> UUID:
    """Make a session and return its id, which its refresh tokens have as their family."""
    row = await sessions.create(
        session,
        session_id=new_id(),
        user_id=user_id,
        user_agent=origin.user_agent,
        address_prefix=origin.address_prefix,
    )
    return row.id


async def require_session(resources: Resources, principal: Principal) -> None:
    """Return when the log-in that the principal's access token came from has not ended.

    Raises:
        Unauthenticated: it has, or the token came from none.
    """
    if principal.foreign:
        return
    if principal.session_id is None:
        raise invalid_token()
    row = await sessions.read(resources.database, principal.user_id, principal.session_id)
    if row is None or row.revoked_at is not None:
        raise invalid_token()


async def list_sessions(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[LoginSession]:
    """Return at most `limit` sessions that can still be refreshed, newest first, behind `after`."""
    lifetime = timedelta(days=resources.settings.auth.refresh_token_days)
    find = partial(sessions.list, limit=limit, after=after, used_within=lifetime)
    return await resources.database.query(principal.user_id, find)


async def revoke_session(
    resources: Resources, principal: Principal, session_id: UUID, origin: Origin
) -> None:
    """End one session.

    Raises:
        NotFound: there is none, it has ended, or it is somebody else's.
    """
    async with resources.database.session(principal.user_id) as session:
        if not await end(session, session_id):
            raise NotFound("There is no such session.", code="session_not_found")
        await audit.record(
            resources,
            session,
            SecurityEvent.SESSION_REVOKED,
            principal.user_id,
            origin,
            session_id=session_id,
        )


async def log_out_everywhere(resources: Resources, principal: Principal, origin: Origin) -> None:
    """End all sessions of the user, this one too."""
    async with resources.database.session(principal.user_id) as session:
        count = await end_all(session, principal.user_id)
        await audit.record(
            resources, session, SecurityEvent.SESSIONS_REVOKED, principal.user_id, origin, count=count
        )


async def end(session: Session, session_id: UUID) -> bool:
    """Revoke a session with its refresh tokens; False when it was not there or had ended."""
    ended = await sessions.revoke(session, session_id)
    await refresh_tokens.revoke_family(session, session_id)
    return ended


async def end_all(session: Session, user_id: UUID, *, but: UUID | None = None) -> int:
    """Revoke all sessions of a user but one, with their refresh tokens; return how many there were."""
    count = await sessions.revoke_all(session, user_id, but=but)
    await refresh_tokens.revoke_all(session, user_id, but=but)
    return count

"""Personal access tokens: what a user's scripts show instead of logging in."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from little_monster.db.models.personal_access_tokens import PersonalAccessToken
from little_monster.db.repositories import personal_access_tokens, users
from little_monster.platform.errors import Conflict, NotFound
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.security import (
    Principal,
    digest_token,
    invalid_token,
    new_personal_token,
)
from little_monster.platform.services import audit
from little_monster.platform.services.audit import SecurityEvent

MAX_TOKENS = 50


async def create_token(
    resources: Resources,
    principal: Principal,
    *,
    name: str,
    scopes: Collection[str],
    lifetime: timedelta | None,
    origin: Origin,
) -> tuple[PersonalAccessToken, str]:
    """Make a token, and return its row and the token itself, which is kept nowhere.

    Raises:
        Conflict: the user has as many as one may have.
    """
    token = new_personal_token()
    expires_at = None if lifetime is None else datetime.now(UTC) + lifetime
    async with resources.database.session(principal.user_id) as session:
        await users.lock(session, principal.user_id)
        if await personal_access_tokens.count(session, principal.user_id) >= MAX_TOKENS:
            raise Conflict(f"There are {MAX_TOKENS} tokens already: revoke one.", code="too_many_tokens")
        row = await personal_access_tokens.create(
            session,
            user_id=principal.user_id,
            name=name,
            scopes=sorted(scopes),
            token_hash=digest_token(token),
            expires_at=expires_at,
        )
        await audit.record(
            resources, session, SecurityEvent.TOKEN_CREATED, principal.user_id, origin, id=row.id
        )
    return row, token


async def list_tokens(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[PersonalAccessToken]:
    """Return at most `limit` tokens that are not revoked behind `after`, newest first."""
    find = partial(personal_access_tokens.list, limit=limit, after=after)
    return await resources.database.query(principal.user_id, find)


async def revoke_token(resources: Resources, principal: Principal, token_id: UUID, origin: Origin) -> None:
    """Revoke a token: the next request that shows it is refused.

    Raises:
        NotFound: there is none, it is revoked, or it is somebody else's.
    """
    async with resources.database.session(principal.user_id) as session:
        if not await personal_access_tokens.revoke(session, token_id):
            raise NotFound("There is no such token.", code="token_not_found")
        await audit.record(
            resources, session, SecurityEvent.TOKEN_REVOKED, principal.user_id, origin, id=token_id
        )


async def read_token(resources: Resources, token: str) -> Principal:
    """Return whom a token names. Each request looks it up, so that revoking takes effect at once.

    Raises:
        Unauthenticated: it is unknown, expired or revoked.
    """
    async with resources.database.session(None) as session:
        bearer = await personal_access_tokens.use(session, digest_token(token))
    if bearer is None:
        raise invalid_token()
    return Principal(bearer.user_id, bearer.role, scopes=frozenset(bearer.scopes))

"""Accounts: registering, logging in, staying logged in, logging out."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models.users import User
from little_monster.db.repositories import refresh_tokens, users
from little_monster.db.session import Session
from little_monster.platform.errors import Conflict, Unauthenticated
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, digest_refresh_token, invalid_token, new_refresh_token

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client stays logged in with; lifetimes in seconds. `refresh_token` is good for one use."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


async def register(
    resources: Resources, *, email: str, password: str, display_name: str
) -> tuple[User, Tokens]:
    """Make an account and log it in. `email` is in its normal form, lower-case.

    Raises:
        Conflict: the address has an account.
    """
    user_id = new_id()
    password_hash = await resources.passwords.hash(password)
    try:
        async with resources.database.session(user_id) as session:
            user = await users.create(
                session, user_id=user_id, email=email, password_hash=password_hash, display_name=display_name
            )
            return user, await _grant(resources, session, Principal(user_id, user.role), new_id())
    except DuplicateKey:
        raise Conflict("This e-mail address has an account.", code="email_taken") from None


async def log_in(resources: Resources, *, email: str, password: str) -> tuple[User, Tokens]:
    """Check a password and log in.

    Raises:
        Unauthenticated: the address is unknown or the password wrong; both cost and say the same.
    """
    async with resources.database.session(None) as session:
        login = await users.find_login(session, email)
    # No connection is held while the hash is computed.
    right = await resources.passwords.verify(login.password_hash if login else None, password)
    if login is None or not right:
        raise _wrong_credentials()
    async with resources.database.session(login.user_id) as session:
        await users.touch(session, login.user_id)
        user = await users.get(session, login.user_id)
        if user is None:
            raise _wrong_credentials()
        return user, await _grant(resources, session, Principal(user.id, user.role), new_id())


async def refresh(resources: Resources, refresh_token: str) -> Tokens:
    """Exchange a refresh token for new tokens. One that was used before revokes all tokens of its log-in.

    Raises:
        Unauthenticated: it is unknown, expired, revoked or used.
    """
    digest = digest_refresh_token(refresh_token)
    owner = await _owner_of(resources, digest)
    if owner is None:
        raise _wrong_refresh_token()
    async with resources.database.session(owner) as session:
        tokens = await _rotate(resources, session, owner, digest)
    # Raised only now, as an error inside of the transaction would undo the revocation.
    if tokens is None:
        raise _wrong_refresh_token()
    return tokens


async def log_out(resources: Resources, refresh_token: str) -> None:
    """Revoke all refresh tokens of this log-in; a token that is not good is fine, as it is then out
    already."""
    digest = digest_refresh_token(refresh_token)
    owner = await _owner_of(resources, digest)
    if owner is None:
        return
    async with resources.database.session(owner) as session:
        token = await refresh_tokens.get(session, digest)
        if token is not None:
            await refresh_tokens.revoke_family(session, token.family_id)


async def get_user(resources: Resources, principal: Principal) -> User:
    """Return the account of who asks.

    Raises:
        Unauthenticated: it was deleted after the token was issued.
    """
    user = await users.read(resources.database, principal.user_id)
    if user is None:
        raise invalid_token()
    return user


async def _owner_of(resources: Resources, digest: bytes) -> UUID | None:
    async with resources.database.session(None) as session:
        return await refresh_tokens.find_owner(session, digest)


async def _rotate(resources: Resources, session: Session, owner: UUID, digest: bytes) -> Tokens | None:
    used = await refresh_tokens.consume(session, digest)
    if used == "reused":
        await _revoke_stolen(resources, session, owner, digest)
        return None
    user = await users.get(session, owner)
    if used is None or user is None:
        return None
    return await _grant(resources, session, Principal(owner, user.role), used.family_id)


async def _revoke_stolen(resources: Resources, session: Session, owner: UUID, digest: bytes) -> None:
    """Two hold this token and one of them is a thief: log both out."""
    token = await refresh_tokens.get(session, digest)
    if token is not None:
        count = await refresh_tokens.revoke_family(session, token.family_id)
        _log.warning("refresh_token_reused", user=resources.tokens.pseudonym(owner), revoked=count)


async def _grant(resources: Resources, session: Session, principal: Principal, family_id: UUID) -> Tokens:
    refresh_token = new_refresh_token()
    lifetime = timedelta(days=resources.settings.auth.refresh_token_days)
    await refresh_tokens.create(
        session,
        user_id=principal.user_id,
        family_id=family_id,
        token_hash=digest_refresh_token(refresh_token),
        expires_at=datetime.now(UTC) + lifetime,
    )
    return Tokens(
        resources.tokens.issue(principal),
        int(resources.tokens.lifetime.total_seconds()),
        refresh_token,
        int(lifetime.total_seconds()),
    )


def _wrong_credentials() -> Unauthenticated:
    return Unauthenticated("The e-mail address or the password is wrong.", code="invalid_credentials")


def _wrong_refresh_token() -> Unauthenticated:
    return Unauthenticated("The refresh token is not valid: log in.", code="invalid_refresh_token")

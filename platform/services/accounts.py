"""Accounts: registering, logging in, staying logged in, logging out."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models.users import User
from little_monster.db.repositories import refresh_tokens, users
from little_monster.db.repositories import sessions as session_rows
from little_monster.db.session import Session
from little_monster.platform.errors import Conflict, RateLimited, Unauthenticated
from little_monster.platform.origin import Origin
from little_monster.platform.password_rules import require_good_password
from little_monster.platform.rate_limits import digest_account
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, digest_token, invalid_token, new_token
from little_monster.platform.services import audit, second_factor, sessions
from little_monster.platform.services.audit import SecurityEvent
from little_monster.platform.services.second_factor import Outcome, Proof

# Who refreshes is active; many clients of one user do not write the row more often.
_ACTIVE_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client stays logged in with; lifetimes in seconds. `refresh_token` is good for one use."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


async def register(
    resources: Resources, *, email: str, password: str, display_name: str, origin: Origin
) -> tuple[User, Tokens]:
    """Make an account and log it in. `email` is in its normal form, lower-case.

    Raises:
        InvalidInput: the password is easy to guess.
        Conflict: the address has an account.
    """
    await require_good_password(password, email, field="password")
    user_id = new_id()
    password_hash = await resources.passwords.hash(password)
    try:
        async with resources.database.session(user_id) as session:
            user = await users.create(
                session, user_id=user_id, email=email, password_hash=password_hash, display_name=display_name
            )
            return user, await _enter(resources, session, user, SecurityEvent.REGISTERED, origin)
    except DuplicateKey:
        raise Conflict("This e-mail address has an account.", code="email_taken") from None


async def log_in(
    resources: Resources, *, email: str, password: str, proof: Proof, origin: Origin
) -> tuple[User, Tokens]:
    """Check a password, and the second factor of who has one, and log in.

    Raises:
        Unauthenticated: the address is unknown or the password wrong, and both cost and say the same; or
            only the second factor is missing (`totp_required`) or wrong.
        RateLimited: there were too many on this account from networks that it does not know, or the second
            factor was tried too often.
    """
    async with resources.database.session(None) as session:
        login = await users.find_login(session, email)
    await _limit_log_ins(resources, email, login.user_id if login else None, origin)
    # No connection is held while the hash is computed.
    right = await resources.passwords.verify(login.password_hash if login else None, password)
    if login is None or not right:
        user_id = login.user_id if login else None
        await audit.record_alone(resources, SecurityEvent.LOGIN_FAILED, user_id, origin, reason="credentials")
        raise _wrong_credentials()
    await second_factor.limit_attempts(resources, login.user_id, proof)
    async with resources.database.session(login.user_id) as session:
        outcome = await second_factor.check(resources, session, login.user_id, proof, origin)
        if outcome is Outcome.PASSED:
            return await _log_in(resources, session, login.user_id, origin)
    # Nothing was written above, and the failure must stay written when this raises.
    if outcome is Outcome.WRONG:
        await audit.record_alone(
            resources, SecurityEvent.LOGIN_FAILED, login.user_id, origin, reason="second_factor"
        )
    raise second_factor.refused(outcome)


async def refresh(resources: Resources, refresh_token: str, origin: Origin) -> Tokens:
    """Exchange a refresh token for new tokens. One that was used before ends its session.

    Raises:
        Unauthenticated: it is unknown, expired, revoked or used.
    """
    digest = digest_token(refresh_token)
    owner = await _owner_of(resources, digest)
    if owner is None:
        raise _wrong_refresh_token()
    async with resources.database.session(owner) as session:
        tokens = await _rotate(resources, session, owner, digest, origin)
    # Raised only now, as an error inside of the transaction would undo the revocation.
    if tokens is None:
        raise _wrong_refresh_token()
    return tokens


async def log_out(resources: Resources, refresh_token: str, origin: Origin) -> None:
    """End the session of this token; a token that is not good is fine, as it is then out already."""
    digest = digest_token(refresh_token)
    owner = await _owner_of(resources, digest)
    if owner is None:
        return
    async with resources.database.session(owner) as session:
        session_id = await refresh_tokens.find_family(session, digest)
        if session_id is not None and await sessions.end(session, session_id):
            await audit.record(
                resources, session, SecurityEvent.LOGGED_OUT, owner, origin, session_id=session_id
            )


async def get_user(resources: Resources, principal: Principal, *, fresh: bool = False) -> User:
    """Return the account of who asks; `fresh` where it decides something.

    Raises:
        Unauthenticated: it was deleted after the token was issued.
    """
    user = await users.read(resources.database, principal.user_id, fresh=fresh)
    if user is None:
        raise invalid_token()
    return user


async def renewed(resources: Resources, principal: Principal) -> Principal:
    """Return the principal with the role that the account has now. Raises as `get_user`."""
    user = await get_user(resources, principal)
    return replace(principal, role=user.role)


async def _owner_of(resources: Resources, digest: bytes) -> UUID | None:
    async with resources.database.session(None) as session:
        return await refresh_tokens.find_owner(session, digest)


async def _limit_log_ins(resources: Resources, email: str, user_id: UUID | None, origin: Origin) -> None:
    """Count a log-in on an account from wherever, whether there is one or not.

    What slows an attacker with many addresses must not lock out the user: from a network that the account has
    logged in from, only the limit of that address counts. Who is logged in stays so in any case.

    Raises:
        RateLimited: there were too many in this minute.
    """
    limit = resources.settings.api.login_attempts_per_account_per_minute
    decision = await resources.limiter.hit("account_attempts", digest_account(email), limit)
    if decision is None or decision.allowed:
        return
    # Looked up for an unknown account too, so that it takes as long.
    async with resources.database.session(user_id or new_id()) as session:
        if await session_rows.knows_network(session, origin.address_prefix or ""):
            return
    raise RateLimited(
        f"More than {limit} log-ins to this account in a minute.", retry_after_s=decision.reset_s
    )


async def _log_in(
    resources: Resources, session: Session, user_id: UUID, origin: Origin
) -> tuple[User, Tokens]:
    await users.touch(session, user_id)
    user = await users.get(session, user_id)
    if user is None:
        raise _wrong_credentials()
    return user, await _enter(resources, session, user, SecurityEvent.LOGGED_IN, origin)


async def _enter(
    resources: Resources, session: Session, user: User, event: SecurityEvent, origin: Origin
) -> Tokens:
    session_id = await sessions.start(session, user.id, origin)
    await audit.record(resources, session, event, user.id, origin, session_id=session_id)
    return await _grant(resources, session, Principal(user.id, user.role, session_id), session_id)


async def _rotate(
    resources: Resources, session: Session, owner: UUID, digest: bytes, origin: Origin
) -> Tokens | None:
    session_id = await refresh_tokens.find_family(session, digest)
    if session_id is None or not await session_rows.use(session, session_id):
        return None
    used = await refresh_tokens.consume(session, digest)
    if used == "reused":
        # Two hold this token and one of them is a thief: log both out.
        await sessions.end(session, session_id)
        await audit.record(
            resources, session, SecurityEvent.REFRESH_TOKEN_REUSED, owner, origin, session_id=session_id
        )
        return None
    await users.touch(session, owner, after=_ACTIVE_FOR)
    user = await users.get(session, owner)
    if used is None or user is None:
        return None
    return await _grant(resources, session, Principal(owner, user.role, session_id), session_id)


async def _grant(resources: Resources, session: Session, principal: Principal, family_id: UUID) -> Tokens:
    refresh_token = new_token()
    lifetime = timedelta(days=resources.settings.auth.refresh_token_days)
    await refresh_tokens.create(
        session,
        user_id=principal.user_id,
        family_id=family_id,
        token_hash=digest_token(refresh_token),
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

"""Accounts at other issuers: whose their tokens are, and how they are linked to accounts here.

Who controls an account at an issuer must not get into somebody else's account here, so that a subject is
linked by its e-mail address only when the issuer has verified the address, the user here has too, and no
second factor would be passed by. Without the second, somebody could register another's address here first and
wait; without the first, anybody could write it at the issuer. Else the user links it, logged in here.

A subject that its user unlinked stays out until they link it again. When an account is deleted, the tokens
issued until then are like none; one that is issued later makes a new account. The role is always ours.
"""

from datetime import datetime
from uuid import UUID

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models.external_identities import ExternalIdentity
from little_monster.db.repositories import external_identities, users
from little_monster.db.repositories.external_identities import ClaimedAccount
from little_monster.db.session import Session
from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from little_monster.platform.foreign_tokens import ForeignClaims
from little_monster.platform.origin import Origin
from little_monster.platform.permissions import STUDENT
from little_monster.platform.rate_limits import REQUESTS
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, invalid_token
from little_monster.platform.services import audit
from little_monster.platform.services.audit import SecurityEvent

# What no password has as its hash.
_NO_PASSWORD = ""


async def read_token(resources: Resources, token: str, origin: Origin, *, anew: bool = False) -> Principal:
    """Return whose a token of another issuer is; the account is made or linked when it may be. It is
    remembered for a moment, unless it is to be looked up `anew`.

    Raises:
        Unauthenticated: it is not good, or its subject was unlinked, or went with its account.
        Forbidden: it is good, but makes no account (`email_missing`, `email_not_verified`, `no_account`).
        Conflict: its address has an account, which must be linked by its user (`identity_not_linked`).
        Unavailable: the issuer does not answer.
    """
    principal = None if anew else resources.foreign_tokens.known(token)
    if principal is None:
        claims = await resources.foreign_tokens.read(token)
        principal = await _find(resources, claims) or await _enter(resources, claims, origin)
        resources.foreign_tokens.remember(token, claims, principal)
    return principal


async def link(resources: Resources, principal: Principal, token: str, origin: Origin) -> ExternalIdentity:
    """Link the subject of a token to who is logged in, whatever the addresses.

    Raises:
        InvalidInput: the token is not good.
        Conflict: the subject is linked already (`identity_taken`).
        Unavailable: the issuer does not answer.
    """
    try:
        claims = await resources.foreign_tokens.read(token)
    except Unauthenticated:
        raise InvalidInput(
            "The token is not valid.",
            code="invalid_identity_token",
            errors=[{"field": "body.token", "message": "is not a valid token of an accepted issuer"}],
        ) from None
    try:
        async with resources.database.session(principal.user_id) as session:
            return await _link(resources, session, principal.user_id, claims, origin)
    except DuplicateKey:
        raise Conflict("This is linked to an account already.", code="identity_taken") from None


async def list_identities(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[ExternalIdentity]:
    """Return at most `limit` subjects that are linked behind `after`, newest first."""
    async with resources.database.session(principal.user_id) as session:
        return await external_identities.list(session, limit=limit, after=after)


async def unlink(resources: Resources, principal: Principal, identity_id: UUID, origin: Origin) -> None:
    """Unlink a subject: the next request with a token of it is refused, and no token links it again.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    async with resources.database.session(principal.user_id) as session:
        removed = await external_identities.remove(session, identity_id)
        if removed is None:
            raise NotFound("There is no such identity.", code="identity_not_found")
        await audit.record(
            resources,
            session,
            SecurityEvent.IDENTITY_UNLINKED,
            principal.user_id,
            origin,
            id=identity_id,
            issuer=removed.issuer,
        )
        # What is remembered of its tokens is looked up again, by all replicas.
        lifetime = int(resources.tokens.lifetime.total_seconds())
        await resources.limiter.mark(REQUESTS, str(principal.user_id), lifetime)


async def _find(resources: Resources, claims: ForeignClaims) -> Principal | None:
    """Return whose the subject is; None when it is new here."""
    async with resources.database.session(None) as session:
        found = await external_identities.find(session, claims.issuer.issuer, claims.subject)
    if found.user_id is not None and found.role is not None:
        return Principal(found.user_id, found.role, foreign=True)
    if found.ended_at is not None and (found.barred or claims.issued_at <= found.ended_at):
        raise invalid_token()
    return None


async def _enter(resources: Resources, claims: ForeignClaims, origin: Origin) -> Principal:
    """Link a new subject to the account of its address, or make one."""
    if claims.email is None:
        raise Forbidden("The token names no e-mail address.", code="email_missing")
    if claims.issuer.require_verified_email and not claims.email_verified:
        raise Forbidden("The issuer has not verified the e-mail address.", code="email_not_verified")
    async with resources.database.session(None) as session:
        account = await external_identities.find_claimed_account(session, claims.email)
    try:
        if account is not None:
            return await _link_account(resources, account, claims, origin)
        return await _make_account(resources, claims, claims.email, origin)
    except DuplicateKey:
        # Another request with the same token, or somebody who registered, was faster.
        principal = await _find(resources, claims)
        if principal is None:
            raise _not_linked() from None
        return principal


async def _link_account(
    resources: Resources, account: ClaimedAccount, claims: ForeignClaims, origin: Origin
) -> Principal:
    if not claims.email_verified or not account.verified or account.second_factor:
        raise _not_linked()
    async with resources.database.session(account.user_id) as session:
        await _link(resources, session, account.user_id, claims, origin)
    return Principal(account.user_id, account.role, foreign=True)


async def _make_account(resources: Resources, claims: ForeignClaims, email: str, origin: Origin) -> Principal:
    """Make an account without a password, which a reset by e-mail gives it."""
    if not claims.issuer.create_accounts:
        raise Forbidden("There is no account for this token: register, and link it.", code="no_account")
    user_id = new_id()
    async with resources.database.session(user_id) as session:
        await users.create(
            session,
            user_id=user_id,
            email=email,
            password_hash=_NO_PASSWORD,
            display_name=claims.name or email.partition("@")[0],
        )
        if claims.email_verified:
            await users.set_email_verified(session, user_id, email)
        await audit.record(resources, session, SecurityEvent.REGISTERED, user_id, origin)
        await _link(resources, session, user_id, claims, origin)
    return Principal(user_id, STUDENT, foreign=True)


async def _link(
    resources: Resources, session: Session, user_id: UUID, claims: ForeignClaims, origin: Origin
) -> ExternalIdentity:
    issuer = claims.issuer.issuer
    row = await external_identities.create(
        session, user_id=user_id, issuer=issuer, subject=claims.subject, email=claims.email
    )
    await audit.record(
        resources, session, SecurityEvent.IDENTITY_LINKED, user_id, origin, id=row.id, issuer=issuer
    )
    return row


def _not_linked() -> Conflict:
    return Conflict(
        "The e-mail address of this token has an account: log in to it, and link the token there.",
        code="identity_not_linked",
    )

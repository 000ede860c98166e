"""What admins do with the accounts of others: see that they are there, and give roles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from little_monster.db.errors import RowRefused
from little_monster.db.repositories import accounts
from little_monster.db.repositories.accounts import ListedUser, Outcome
from little_monster.db.session import Session
from little_monster.platform import permissions
from little_monster.platform.errors import Forbidden
from little_monster.platform.origin import Origin
from little_monster.platform.rate_limits import REQUESTS
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal
from little_monster.platform.services import audit
from little_monster.platform.services.audit import SecurityEvent
from little_monster.platform.services.users import no_user

Check = Callable[[ListedUser], None]


async def list_users(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[ListedUser]:
    """Return at most `limit` accounts behind `after`, newest first.

    Raises:
        Forbidden: who asks is no admin.
    """
    with _admins_only(principal):
        async with resources.database.session(principal.user_id) as session:
            return await accounts.list(session, limit=limit, after=after)


async def get_user(resources: Resources, principal: Principal, user_id: UUID) -> ListedUser:
    """Return an account.

    Raises:
        Forbidden: who asks is no admin.
        NotFound: there is no such account.
    """
    with _admins_only(principal):
        async with resources.database.session(principal.user_id) as session:
            return _found(await accounts.get(session, user_id))


async def set_role(
    resources: Resources, principal: Principal, user_id: UUID, role: str, origin: Origin, *, check: Check
) -> ListedUser:
    """Give somebody else a role, and return the account as it is then. It counts at once, whatever their
    tokens say: the account is marked before the change is to be seen, and what a marked one may do is looked
    up until the last of those tokens has expired.

    Raises:
        ProblemError: what `check` raises of the account as it is now.
        Forbidden: who asks is no admin, or asks for their own account (`own_role`): so one admin stays.
        NotFound: there is no such account.
    """
    with _admins_only(principal):
        async with resources.database.session(principal.user_id) as session:
            before, outcome = await _set_role(session, user_id, role, origin, check)
            if outcome == "own":
                raise Forbidden("Nobody changes their own role.", code="own_role")
            if outcome == "changed":
                lifetime = int(resources.tokens.lifetime.total_seconds())
                await resources.limiter.mark(REQUESTS, str(user_id), lifetime)
            after = _found(await accounts.get(session, user_id))
    if outcome == "changed":
        details = {"from": before.role.value, "to": role}
        audit.log(resources, SecurityEvent.ROLE_CHANGED, user_id, origin, details)
    return after


async def _set_role(
    session: Session, user_id: UUID, role: str, origin: Origin, check: Check
) -> tuple[ListedUser, Outcome]:
    """Change the version that was checked; when there is a newer one by then, check that."""
    while True:
        before = _found(await accounts.get(session, user_id))
        check(before)
        outcome = await accounts.set_role(
            session, user_id, role, seen=before.updated_at, address_prefix=origin.address_prefix
        )
        if outcome != "stale":
            return before, outcome


def _found(user: ListedUser | None) -> ListedUser:
    if user is None:
        raise no_user()
    return user


@contextmanager
def _admins_only(principal: Principal) -> Iterator[None]:
    """Refuse whose token, or whose account by now, is no admin's."""
    permissions.require_role(principal, permissions.ADMIN)
    try:
        yield
    except RowRefused:
        raise Forbidden(f"This needs the role {permissions.ADMIN}.") from None

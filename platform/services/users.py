"""Accounts as their owners keep them: the profile, what it adds up to, and its end."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from little_monster.db.models.users import User
from little_monster.db.repositories import accounts, jobs, users
from little_monster.db.repositories.rows import change
from little_monster.db.repositories.users import UserStats
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, Forbidden, NotFound
from little_monster.platform.origin import Origin
from little_monster.platform.rate_limits import REQUESTS
from little_monster.platform.resources import Resources
from little_monster.platform.security import invalid_token
from little_monster.platform.services import audit, feed
from little_monster.platform.services.audit import SecurityEvent
from little_monster.platform.services.preferences import merged

Check = Callable[[User], None]


async def change_user(database: Database, user_id: UUID, values: Mapping[str, Any], *, check: Check) -> User:
    """Change the profile, and return it as it is then. `preferences` are merged into those that are there,
    all else takes the place of what is there.

    Raises:
        ProblemError: what `check` raises of the account as it is now.
        InvalidInput: the preferences would be too large.
        Unauthenticated: the account is gone.
    """
    async with database.session(user_id) as session:
        user = await users.lock(session, user_id)
        if user is None:
            raise invalid_token()
        check(user)
        if "preferences" in values:
            values = {**values, "preferences": merged(user.preferences, values["preferences"])}
        await change(session, user, values)
    return user


async def read_stats(database: Database, user_id: UUID) -> UserStats:
    """Return how much the user has.

    Raises:
        Unauthenticated: the account is gone.
    """
    stats = await database.query(user_id, lambda session: users.stats(session, user_id))
    if stats is None:
        raise invalid_token()
    return stats


async def delete_user(
    resources: Resources, user_id: UUID, password: str, origin: Origin, *, check: Check
) -> None:
    """Delete the account with its rows, for who knows its password; its audit trail stays, which names
    nobody.

    A trigger notes in the same transaction that its vectors and files have to go, which the workers' part
    `pipelines/reconcile.py` does within seconds. The row is deleted under a lock that lets nothing more be
    added.

    Raises:
        ProblemError: what `check` raises of the account as it is now.
        Forbidden: the password is wrong (`wrong_password`).
        Conflict: nobody would be left who can give roles (`last_admin`).
        Unauthenticated: the account is gone.
        Unavailable: the database does not answer; nothing has changed.
    """
    await _check_password(resources, user_id, password, check)
    await _delete(resources.database, user_id, origin)
    # Their public videos went with them.
    await feed.forget(resources.redis)
    # Access tokens outlive the account by minutes.
    lifetime = int(resources.tokens.lifetime.total_seconds())
    await resources.limiter.shut(REQUESTS, str(user_id), lifetime)
    audit.log(resources, SecurityEvent.ACCOUNT_DELETED, user_id, origin, {})


def no_user() -> NotFound:
    """Return the error for an account that is not there, or somebody else's."""
    return NotFound("There is no such user.", code="user_not_found")


async def _check_password(resources: Resources, user_id: UUID, password: str, check: Check) -> None:
    user = await users.read(resources.database, user_id, fresh=True)
    if user is None:
        raise invalid_token()
    check(user)
    # No connection is held while the hash is computed.
    if not await resources.passwords.verify(user.password_hash, password):
        raise Forbidden("The password is wrong.", code="wrong_password")


async def _delete(database: Database, user_id: UUID, origin: Origin) -> None:
    async def delete(session: Session) -> None:
        # Before any row is locked, as who gives a role does it.
        await _require_other_admin(session)
        if await users.lock_out(session, user_id):
            await jobs.cancel_all(session, user_id)
            await audit.add(session, SecurityEvent.ACCOUNT_DELETED, user_id, origin, {})
            await users.delete(session, user_id)

    await database.run(user_id, delete)


async def _require_other_admin(session: Session) -> None:
    if await accounts.is_last_admin(session):
        raise Conflict("This is the last admin: give the role to somebody else first.", code="last_admin")

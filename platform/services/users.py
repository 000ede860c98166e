"""Accounts as their owners keep them: the profile, what it adds up to, and its end."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from little_monster.db.models.users import User
from little_monster.db.repositories import accounts, jobs, user_documents, users
from little_monster.db.repositories.rows import change
from little_monster.db.repositories.users import UserStats
from little_monster.db.session import Database, Session
from little_monster.platform.errors import Conflict, Forbidden, NotFound
from little_monster.platform.origin import Origin
from little_monster.platform.rate_limits import REQUESTS
from little_monster.platform.resources import Resources
from little_monster.platform.security import invalid_token
from little_monster.platform.services import audit, documents, feed
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
    async with database.session(user_id) as session:
        stats = await users.stats(session, user_id)
    if stats is None:
        raise invalid_token()
    return stats


async def delete_user(
    resources: Resources, user_id: UUID, password: str, origin: Origin, *, check: Check
) -> None:
    """Delete the account with its rows, vectors and files, for who knows its password.

    Documents go one after the other, each whole, and the account goes last, when nothing is left that only it
    leads to; its audit trail stays, which names nobody. A deletion that broke off, which is told as
    `Unavailable`, leaves an account that can do everything with what it still has, and is repeated to be
    finished. What is uploaded meanwhile is found by the next round; the row is deleted under a lock that lets
    nothing more be added.

    Raises:
        ProblemError: what `check` raises of the account as it is now.
        Forbidden: the password is wrong (`wrong_password`).
        Conflict: nobody would be left who can give roles (`last_admin`).
        Unauthenticated: the account is gone.
        Unavailable: a part does not answer.
    """
    await _check_password(resources, user_id, password, check)
    async with resources.database.session(user_id) as session:
        await _require_other_admin(session)
    await _empty(resources, user_id)
    while not await _delete_empty(resources.database, user_id, origin):
        await _empty(resources, user_id)
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
    user = await users.read(resources.database, user_id)
    if user is None:
        raise invalid_token()
    check(user)
    # No connection is held while the hash is computed.
    if not await resources.passwords.verify(user.password_hash, password):
        raise Forbidden("The password is wrong.", code="wrong_password")


async def _empty(resources: Resources, user_id: UUID) -> None:
    """Delete what lies outside of the database, and the rows that lead to it."""
    async with resources.database.session(user_id) as session:
        await jobs.cancel_all(session, user_id)
        document_ids = await user_documents.ids(session, user_id)
    for document_id in document_ids:
        with suppress(NotFound):
            await documents.delete_document(resources, user_id, document_id)
    # What no row leads to any more: files of uploads that broke off, points of a worker that was killed.
    await resources.index.delete_owner(user_id)
    await resources.storage.delete_prefix(str(user_id))


async def _delete_empty(database: Database, user_id: UUID, origin: Origin) -> bool:
    """Delete the account with its other rows; False when it has got documents meanwhile."""

    async def delete(session: Session) -> bool:
        # Before any row is locked, as who gives a role does it.
        await _require_other_admin(session)
        if not await users.lock_out(session, user_id):
            return True
        if await user_documents.ids(session, user_id):
            return False
        await audit.add(session, SecurityEvent.ACCOUNT_DELETED, user_id, origin, {})
        return await users.delete(session, user_id)

    return await database.run(user_id, delete)


async def _require_other_admin(session: Session) -> None:
    if await accounts.is_last_admin(session):
        raise Conflict("This is the last admin: give the role to somebody else first.", code="last_admin")

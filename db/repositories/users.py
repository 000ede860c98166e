"""Accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, text, update

from little_monster.db.models.users import User, UserRole
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import changed, insert
from little_monster.db.session import Database, Session

_BY_ID = ByKey(User)


@dataclass(frozen=True, slots=True)
class Login:
    """What a log-in is checked against."""

    user_id: UUID
    password_hash: str
    role: UserRole


async def get(session: Session, user_id: UUID) -> User | None:
    """Return the user; None also for somebody else."""
    return await session.get(User, user_id)


async def read(database: Database, user_id: UUID) -> User | None:
    """Return the user, in a transaction of its own; as the user, who sees nobody else."""
    return await database.read(user_id, _BY_ID, user_id)


async def create(
    session: Session,
    *,
    user_id: UUID,
    email: str,
    password_hash: str,
    display_name: str,
    avatar_color: str | None = None,
    subjects: Sequence[str] = (),
) -> User:
    """Insert an account, in a session of that same new `user_id` (`base.new_id`): nobody makes one for
    somebody else.

    Raises:
        DuplicateKey: `users_email_key`, the address is taken, whatever its case.
    """
    user = User(
        id=user_id,
        email=email,
        password_hash=password_hash,
        display_name=display_name,
        avatar_color=avatar_color,
        subjects=[*subjects],
    )
    return await insert(session, user)


async def find_login(session: Session, email: str) -> Login | None:
    """Return who logs in with this address, whatever its case; works for nobody's session."""
    query = text("SELECT user_id, password_hash, role::text AS role FROM auth.find_login(:email)")
    row = (await session.execute(query, {"email": email})).one_or_none()
    return None if row is None else Login(row.user_id, row.password_hash, UserRole(row.role))


async def touch(session: Session, user_id: UUID) -> None:
    """Note that the user was active now."""
    await changed(session, update(User).where(User.id == user_id).values(last_active_at=func.now()))


async def set_password(session: Session, user_id: UUID, password_hash: str) -> bool:
    """Replace the password's hash; False when there is no such user."""
    query = update(User).where(User.id == user_id).values(password_hash=password_hash)
    return await changed(session, query) == 1


async def set_email_verified(session: Session, user_id: UUID, email: str) -> bool:
    """Note that the user reads `email`; False when that is not, or no longer, the address of the account."""
    query = update(User).where(User.id == user_id, func.lower(User.email) == email.lower())
    values = {"email_verified_at": func.coalesce(User.email_verified_at, func.now())}
    return await changed(session, query.values(values)) == 1


async def lock(session: Session, user_id: UUID) -> User | None:
    """Return the user as it is now, and let others who lock it wait for the end of the transaction; so that
    things of one user are counted and added one after the other."""
    query = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return await session.scalar(query.execution_options(populate_existing=True))


async def exists(session: Session, user_id: UUID) -> bool:
    """Say whether the account is still there."""
    return await session.scalar(select(User.id).where(User.id == user_id)) is not None

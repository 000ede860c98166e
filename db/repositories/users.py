"""Accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, func, select, text, true, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import InstrumentedAttribute

from little_monster.db.models.chat_conversations import ChatConversation
from little_monster.db.models.comments import Comment
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.models.ratings import Rating
from little_monster.db.models.user_documents import UserDocument
from little_monster.db.models.users import User, UserRole
from little_monster.db.models.videos import Video
from little_monster.db.reads import ByKey
from little_monster.db.repositories.rows import changed, delete_whole, insert, locked
from little_monster.db.session import Database, Session

_BY_ID = ByKey(User)


@dataclass(frozen=True, slots=True)
class Login:
    """What a log-in is checked against."""

    user_id: UUID
    password_hash: str
    role: UserRole


@dataclass(frozen=True, slots=True)
class UserStats:
    """How much a user has; `storage_bytes` are those of the uploaded files."""

    documents: int
    chunks: int
    storage_bytes: int
    conversations: int
    messages: int
    videos: int
    comments: int
    ratings: int
    events: int
    last_activity_at: datetime


async def get(session: Session, user_id: UUID) -> User | None:
    """Return the user; None also for somebody else."""
    return await session.get(User, user_id)


async def read(database: Database, user_id: UUID, *, fresh: bool) -> User | None:
    """Return the user, in a transaction of its own; as the user, who sees nobody else."""
    return await database.read(user_id, _BY_ID, user_id, fresh=fresh)


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


async def touch(session: Session, user_id: UUID, *, after: timedelta = timedelta()) -> None:
    """Note that the user was active now, unless the last note is not older than `after`."""
    query = update(User).where(User.id == user_id, User.last_active_at <= func.now() - after)
    await changed(session, query.values(last_active_at=func.now()))


async def set_password(session: Session, user_id: UUID, password_hash: str) -> bool:
    """Replace the password's hash; False when there is no such user."""
    query = update(User).where(User.id == user_id).values(password_hash=password_hash)
    return await changed(session, query) == 1


async def set_email_verified(session: Session, user_id: UUID, email: str) -> bool:
    """Note that the user reads `email`; False when that is not, or no longer, the address of the account."""
    query = update(User).where(User.id == user_id, func.lower(User.email) == email.lower())
    values = {"email_verified_at": func.coalesce(User.email_verified_at, func.now())}
    return await changed(session, query.values(values)) == 1


async def exists(session: Session, user_id: UUID) -> bool:
    """Say whether the account is still there."""
    return await session.scalar(select(User.id).where(User.id == user_id)) is not None


async def lock(session: Session, user_id: UUID) -> User | None:
    """Return the user as it is now, and let others who lock it wait for the end of the transaction, so that
    things of one user are counted and added one after the other."""
    return await locked(session, User, user_id)


async def lock_out(session: Session, user_id: UUID) -> bool:
    """Let nobody change the user, or add a row that belongs to them, before this transaction ends; False when
    there is no such user.
    """
    return await session.scalar(select(User.id).where(User.id == user_id).with_for_update()) is not None


async def delete(session: Session, user_id: UUID) -> bool:
    """Delete the account with every row that belongs to it; False when there is no such user."""
    return await delete_whole(session, sql_delete(User).where(User.id == user_id)) == 1


async def stats(session: Session, user_id: UUID) -> UserStats | None:
    """Count what the user has, in one statement; None when there is no such user.

    The counters that triggers keep stand for chunks and messages, which are many more.
    """
    parts = [_library(user_id), _chats(user_id), *(_made(user_id, *what) for what in _MADE)]
    latest = func.greatest(User.last_active_at, *(part.c.latest for part in parts))
    figures = [column for part in parts for column in part.c if column.name != "latest"]
    query = select(*figures, latest.label("last_activity_at")).select_from(User)
    for part in parts:
        query = query.join(part, true())
    query = query.where(User.id == user_id)
    row = (await session.execute(query)).mappings().one_or_none()
    return None if row is None else UserStats(**row)


# A moderator's hand moves `updated_at` of videos and comments.
_MADE = (
    ("videos", Video.created_by, Video.created_at),
    ("comments", Comment.user_id, Comment.created_at),
    ("ratings", Rating.user_id, Rating.updated_at),
    ("events", PlannerEvent.user_id, PlannerEvent.updated_at),
)


def _made(
    user_id: UUID, name: str, owner: InstrumentedAttribute[UUID], moment: InstrumentedAttribute[datetime]
) -> Any:
    query = select(func.count().label(name), func.max(moment).label("latest"))
    return query.where(owner == user_id).subquery()


def _library(user_id: UUID) -> Any:
    query = select(
        func.count().label("documents"),
        func.coalesce(func.sum(UserDocument.chunk_count), 0).cast(BigInteger).label("chunks"),
        func.coalesce(func.sum(UserDocument.file_size), 0).cast(BigInteger).label("storage_bytes"),
        func.max(UserDocument.created_at).label("latest"),
    )
    return query.where(UserDocument.user_id == user_id).subquery()


def _chats(user_id: UUID) -> Any:
    query = select(
        func.count().label("conversations"),
        func.coalesce(func.sum(ChatConversation.message_count), 0).cast(BigInteger).label("messages"),
        func.max(ChatConversation.last_message_at).label("latest"),
    )
    return query.where(ChatConversation.user_id == user_id).subquery()

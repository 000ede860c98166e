"""Personal access tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, text, update

from little_monster.db.models.personal_access_tokens import PersonalAccessToken
from little_monster.db.models.users import UserRole
from little_monster.db.repositories.rows import After, Rows, changed, insert, newest_first
from little_monster.db.session import Session


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a good token names, and what it may be used for."""

    token_id: UUID
    user_id: UUID
    role: UserRole
    scopes: tuple[str, ...]


async def create(
    session: Session,
    *,
    user_id: UUID,
    name: str,
    scopes: Sequence[str],
    token_hash: bytes,
    expires_at: datetime | None,
) -> PersonalAccessToken:
    """Insert a token; `token_hash` is its SHA-256, 32 bytes.

    Raises:
        DuplicateKey: `personal_access_tokens_token_hash_key`.
    """
    row = PersonalAccessToken(
        user_id=user_id, name=name, scopes=[*scopes], token_hash=token_hash, expires_at=expires_at
    )
    return await insert(session, row)


async def list(session: Session, *, limit: int, after: After = None) -> Rows[PersonalAccessToken]:
    """Return at most `limit` tokens that are not revoked, expired ones too, newest first, behind `after`
    (`key` of the last one seen)."""
    query = newest_first(
        select(PersonalAccessToken).where(PersonalAccessToken.revoked_at.is_(None)),
        PersonalAccessToken.created_at,
        PersonalAccessToken.id,
        limit=limit,
        after=after,
    )
    return [*await session.scalars(query)]


def key(row: PersonalAccessToken) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def count(session: Session, user_id: UUID) -> int:
    """Return how many good tokens the user has."""
    query = select(func.count()).where(PersonalAccessToken.user_id == user_id, _good())
    return await session.scalar(query) or 0


async def use(session: Session, token_hash: bytes) -> Bearer | None:
    """Return whom the token names and note its use; None when it is unknown, expired or revoked. Works for
    nobody's session."""
    query = text(
        "SELECT token_id, user_id, role::text AS role, scopes"
        " FROM auth.use_personal_access_token(:token_hash)"
    )
    row = (await session.execute(query, {"token_hash": token_hash})).one_or_none()
    return None if row is None else Bearer(row.token_id, row.user_id, UserRole(row.role), tuple(row.scopes))


async def revoke(session: Session, token_id: UUID) -> bool:
    """Revoke the token; False when there is none, or it was revoked before."""
    query = update(PersonalAccessToken).where(
        PersonalAccessToken.id == token_id, PersonalAccessToken.revoked_at.is_(None)
    )
    return await changed(session, query.values(revoked_at=func.now())) == 1


def _good() -> ColumnElement[bool]:
    expires_at = PersonalAccessToken.expires_at
    return and_(PersonalAccessToken.revoked_at.is_(None), or_(expires_at.is_(None), expires_at > func.now()))

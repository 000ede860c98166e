"""Refresh tokens: each is good once, and a second use betrays that it was stolen."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select, text, update

from little_monster.db.models.refresh_tokens import RefreshToken
from little_monster.db.repositories.rows import changed, insert
from little_monster.db.session import Session


async def create(
    session: Session, *, user_id: UUID, family_id: UUID, token_hash: bytes, expires_at: datetime
) -> RefreshToken:
    """Insert a token; `token_hash` is its SHA-256, 32 bytes.

    Raises:
        DuplicateKey: `refresh_tokens_token_hash_key`.
    """
    row = RefreshToken(user_id=user_id, family_id=family_id, token_hash=token_hash, expires_at=expires_at)
    return await insert(session, row)


async def find_owner(session: Session, token_hash: bytes) -> UUID | None:
    """Return whose token it is, in whatever state; works for nobody's session."""
    query = text("SELECT auth.find_refresh_token_owner(:token_hash)")
    owner: UUID | None = await session.scalar(query, {"token_hash": token_hash})
    return owner


async def get(session: Session, token_hash: bytes) -> RefreshToken | None:
    """Return the token, used and revoked ones too."""
    return await session.scalar(select(RefreshToken).where(RefreshToken.token_hash == token_hash))


async def find_family(session: Session, token_hash: bytes) -> UUID | None:
    """Return which log-in the user's token belongs to, in whatever state it is."""
    return await session.scalar(select(RefreshToken.family_id).where(RefreshToken.token_hash == token_hash))


async def consume(session: Session, token_hash: bytes) -> RefreshToken | Literal["reused"] | None:
    """Use the token up and return it; "reused" when it was used before; None when unknown, expired or
    revoked.

    Of many at once one wins, and the others wait for its transaction. When that also inserts the next token
    of the family, a loser that revokes the family revokes the next token with it.
    """
    query = (
        update(RefreshToken)
        .where(
            RefreshToken.token_hash == token_hash,
            RefreshToken.used_at.is_(None),
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(RefreshToken)
        .execution_options(synchronize_session=False)
    )
    token = await session.scalar(query)
    if token is not None:
        return token
    known = await get(session, token_hash)
    return "reused" if known is not None and known.used_at is not None else None


async def revoke_family(session: Session, family_id: UUID) -> int:
    """Revoke all tokens that came from one log-in; return how many were still good."""
    query = update(RefreshToken).where(RefreshToken.family_id == family_id, RefreshToken.revoked_at.is_(None))
    return await changed(session, query.values(revoked_at=func.now()))


async def revoke_all(session: Session, user_id: UUID, *, but: UUID | None = None) -> int:
    """Revoke all tokens of the user, but those of one family; return how many were still good."""
    query = update(RefreshToken).where(RefreshToken.user_id == user_id, RefreshToken.revoked_at.is_(None))
    if but is not None:
        query = query.where(RefreshToken.family_id != but)
    return await changed(session, query.values(revoked_at=func.now()))

"""Recovery codes: each replaces a lost second factor once."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import func, select, update

from little_monster.db.models.recovery_codes import RecoveryCode
from little_monster.db.repositories.rows import changed
from little_monster.db.session import Session


async def replace_all(session: Session, user_id: UUID, code_hashes: Iterable[bytes]) -> None:
    """Put these codes, as their SHA-256 of 32 bytes, in the place of those that the user has."""
    await delete_all(session, user_id)
    session.add_all([RecoveryCode(user_id=user_id, code_hash=code_hash) for code_hash in code_hashes])
    await session.flush()


async def consume(session: Session, user_id: UUID, code_hash: bytes) -> bool:
    """Use the code up; of many at once one gets True."""
    query = update(RecoveryCode).where(
        RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash, RecoveryCode.used_at.is_(None)
    )
    return await changed(session, query.values(used_at=func.now())) == 1


async def count_left(session: Session, user_id: UUID) -> int:
    """Return how many codes the user can still use."""
    query = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return await session.scalar(query) or 0


async def delete_all(session: Session, user_id: UUID) -> None:
    """Delete the user's codes."""
    await changed(session, delete_from(RecoveryCode).where(RecoveryCode.user_id == user_id))

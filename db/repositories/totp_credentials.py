"""Second factors: at most one a user."""

from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import func, or_, select, update

from little_monster.db.models.totp_credentials import TotpCredential
from little_monster.db.repositories.rows import changed, insert
from little_monster.db.session import Session


async def get(session: Session, user_id: UUID) -> TotpCredential | None:
    """Return the user's second factor, also one that is not confirmed yet."""
    return await session.scalar(select(TotpCredential).where(TotpCredential.user_id == user_id))


async def create(session: Session, *, user_id: UUID, secret: bytes) -> TotpCredential:
    """Insert a second factor that is not confirmed yet, in the place of another such one; `secret` is
    encrypted.

    Raises:
        DuplicateKey: `totp_credentials_user_id_key`, the user has one that is confirmed.
    """
    await delete_unconfirmed(session, user_id)
    return await insert(session, TotpCredential(user_id=user_id, secret=secret))


async def confirm(session: Session, credential_id: UUID, *, step: int) -> bool:
    """Let log-ins ask for the second factor from now on; `step` is that of the code that confirms it. False
    when it was confirmed before."""
    query = update(TotpCredential).where(
        TotpCredential.id == credential_id, TotpCredential.confirmed_at.is_(None)
    )
    return await changed(session, query.values(confirmed_at=func.now(), last_used_step=step)) == 1


async def use_step(session: Session, credential_id: UUID, *, step: int, secret: bytes) -> bool:
    """Use up the code of `step`, and all before it; of many at once one gets True. `secret` replaces the
    kept one, encrypted anew."""
    last = TotpCredential.last_used_step
    query = update(TotpCredential).where(TotpCredential.id == credential_id, or_(last.is_(None), last < step))
    return await changed(session, query.values(last_used_step=step, secret=secret)) == 1


async def delete_unconfirmed(session: Session, user_id: UUID) -> bool:
    """Forget what the user began; False when there is nothing, or it is confirmed."""
    query = delete_from(TotpCredential).where(
        TotpCredential.user_id == user_id, TotpCredential.confirmed_at.is_(None)
    )
    return await changed(session, query) == 1


async def delete(session: Session, user_id: UUID) -> bool:
    """Delete the user's second factor; False when there is none."""
    return await changed(session, delete_from(TotpCredential).where(TotpCredential.user_id == user_id)) == 1

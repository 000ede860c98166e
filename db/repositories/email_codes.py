"""One-time codes that were sent to an e-mail address."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, text, update

from little_monster.db.models.email_codes import EmailCode, EmailCodePurpose
from little_monster.db.repositories.rows import changed, insert
from little_monster.db.session import Session


async def create(
    session: Session,
    *,
    user_id: UUID,
    purpose: EmailCodePurpose,
    email: str,
    code_hash: bytes,
    expires_at: datetime,
) -> EmailCode:
    """Insert a code that goes to `email`; `code_hash` is its SHA-256, 32 bytes.

    Raises:
        DuplicateKey: `email_codes_code_hash_key`.
    """
    row = EmailCode(user_id=user_id, purpose=purpose, email=email, code_hash=code_hash, expires_at=expires_at)
    return await insert(session, row)


async def find_owner(session: Session, code_hash: bytes) -> UUID | None:
    """Return whom the code was sent to, in whatever state it is; works for nobody's session."""
    query = text("SELECT auth.find_email_code_owner(:code_hash)")
    owner: UUID | None = await session.scalar(query, {"code_hash": code_hash})
    return owner


async def find(session: Session, code_hash: bytes, purpose: EmailCodePurpose) -> EmailCode | None:
    """Return the code when it is good for `purpose` now."""
    query: Select[EmailCode] = select(EmailCode).where(
        EmailCode.code_hash == code_hash,
        EmailCode.purpose == purpose,
        EmailCode.used_at.is_(None),
        EmailCode.expires_at > func.now(),
    )
    return await session.scalar(query)


async def consume(session: Session, code_id: UUID) -> bool:
    """Use the code up; of many at once one gets True."""
    query = update(EmailCode).where(EmailCode.id == code_id, EmailCode.used_at.is_(None))
    return await changed(session, query.values(used_at=func.now())) == 1


async def expire_all(session: Session, user_id: UUID, purpose: EmailCodePurpose) -> int:
    """End all codes of the user for `purpose`; return how many were still good."""
    query = update(EmailCode).where(
        EmailCode.user_id == user_id,
        EmailCode.purpose == purpose,
        EmailCode.used_at.is_(None),
        EmailCode.expires_at > func.now(),
    )
    return await changed(session, query.values(expires_at=func.now()))


async def count_sent(session: Session, user_id: UUID, purpose: EmailCodePurpose, *, within: timedelta) -> int:
    """Return how many codes were made for the user in the last `within`."""
    query = select(func.count()).where(
        EmailCode.user_id == user_id,
        EmailCode.purpose == purpose,
        EmailCode.created_at > func.now() - within,
    )
    return await session.scalar(query) or 0

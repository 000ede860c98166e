"""Accounts at other issuers of tokens."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, text

from little_monster.db.models.external_identities import ExternalIdentity
from little_monster.db.models.users import UserRole
from little_monster.db.repositories.rows import After, Rows, insert, newest_first
from little_monster.db.session import Session


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of a subject: whose it is, None when it is nobody's; and when it was linked for the last
    time, and whether its user unlinked it (`barred`) or went with it."""

    user_id: UUID | None
    role: UserRole | None
    ended_at: datetime | None
    barred: bool


@dataclass(frozen=True, slots=True)
class ClaimedAccount:
    """The account of an address: whether its user has shown that they read it, and has a second factor."""

    user_id: UUID
    role: UserRole
    verified: bool
    second_factor: bool


async def find(session: Session, issuer: str, subject: str) -> Subject:
    """Return whose the subject is, and note its use. Works for nobody's session."""
    query = text(
        "SELECT user_id, role::text AS role, ended_at, barred"
        " FROM auth.find_external_identity(:issuer, :subject)"
    )
    row = (await session.execute(query, {"issuer": issuer, "subject": subject})).one()
    role = None if row.role is None else UserRole(row.role)
    return Subject(row.user_id, role, row.ended_at, bool(row.barred))


async def find_claimed_account(session: Session, email: str) -> ClaimedAccount | None:
    """Return the account of an address, whatever its case. Works for nobody's session."""
    query = text(
        "SELECT user_id, role::text AS role, verified, second_factor FROM auth.find_claimed_account(:email)"
    )
    row = (await session.execute(query, {"email": email})).one_or_none()
    if row is None:
        return None
    return ClaimedAccount(row.user_id, UserRole(row.role), row.verified, row.second_factor)


async def create(
    session: Session, *, user_id: UUID, issuer: str, subject: str, email: str | None
) -> ExternalIdentity:
    """Link a subject to the user of the session.

    Raises:
        DuplicateKey: `external_identities_subject_key`, it is somebody's.
    """
    return await insert(
        session, ExternalIdentity(user_id=user_id, issuer=issuer, subject=subject, email=email)
    )


async def list(session: Session, *, limit: int, after: After = None) -> Rows[ExternalIdentity]:
    """Return at most `limit` subjects of the user, newest first, behind `after` (`key` of the last one
    seen)."""
    query = newest_first(
        select(ExternalIdentity), ExternalIdentity.created_at, ExternalIdentity.id, limit=limit, after=after
    )
    return [*await session.scalars(query)]


def key(row: ExternalIdentity) -> tuple[datetime, UUID]:
    """Return where `row` stands in `list`."""
    return row.created_at, row.id


async def remove(session: Session, identity_id: UUID) -> ExternalIdentity | None:
    """Unlink a subject and return what it was; None when there is no such one."""
    query = delete(ExternalIdentity).where(ExternalIdentity.id == identity_id).returning(ExternalIdentity)
    return (await session.scalars(query)).one_or_none()

"""One-time codes that are sent to a user's address: how they are made, and how one that comes back is
found."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from little_monster.db.models.email_codes import EmailCodePurpose
from little_monster.db.models.users import User
from little_monster.db.repositories import email_codes
from little_monster.db.session import Session
from little_monster.platform.errors import InvalidInput
from little_monster.platform.resources import Resources
from little_monster.platform.security import digest_token, new_token

LIFETIMES = {
    EmailCodePurpose.VERIFY_EMAIL: timedelta(hours=24),
    EmailCodePurpose.RESET_PASSWORD: timedelta(hours=1),
}
# So that nobody's mailbox can be filled by asking for codes again and again.
MAX_PER_HOUR = 5


@dataclass(frozen=True, slots=True)
class FoundCode:
    """A code that is good, and whose it is."""

    id: UUID
    user_id: UUID
    email: str


async def issue(session: Session, user: User, purpose: EmailCodePurpose) -> str | None:
    """Return a new code, which ends the earlier ones; None when the user, whom the caller has locked, had
    enough of them in this hour."""
    sent = await email_codes.count_sent(session, user.id, purpose, within=timedelta(hours=1))
    if sent >= MAX_PER_HOUR:
        return None
    await email_codes.expire_all(session, user.id, purpose)
    code = new_token()
    await email_codes.create(
        session,
        user_id=user.id,
        purpose=purpose,
        email=user.email,
        code_hash=digest_token(code),
        expires_at=datetime.now(UTC) + LIFETIMES[purpose],
    )
    return code


async def find(resources: Resources, code: str, purpose: EmailCodePurpose) -> FoundCode:
    """Return the code that somebody got by mail; `use` uses it up.

    Raises:
        InvalidInput: it is unknown, expired, used, or for something else.
    """
    digest = digest_token(code)
    async with resources.database.session(None) as session:
        owner = await email_codes.find_owner(session, digest)
    if owner is None:
        raise invalid_code()
    async with resources.database.session(owner) as session:
        row = await email_codes.find(session, digest, purpose)
    if row is None:
        raise invalid_code()
    return FoundCode(row.id, owner, row.email)


async def use(session: Session, code: FoundCode) -> None:
    """Use the code up, together with what it is used for.

    Raises:
        InvalidInput: another request was first.
    """
    if not await email_codes.consume(session, code.id):
        raise invalid_code()


def invalid_code() -> InvalidInput:
    """Return the one error for every code that is not good."""
    return InvalidInput(
        "The code is not valid: ask for another one.",
        code="invalid_code",
        errors=[{"field": "body.code", "message": "is unknown, used or expired"}],
    )

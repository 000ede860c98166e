"""Passwords of accounts: changing one, and setting a new one when it is forgotten."""

from uuid import UUID

from little_monster.db.models.email_codes import EmailCodePurpose
from little_monster.db.models.users import User
from little_monster.db.repositories import email_codes as code_rows
from little_monster.db.repositories import totp_credentials, users
from little_monster.db.session import Session
from little_monster.platform.errors import Forbidden
from little_monster.platform.mail import deliver
from little_monster.platform.origin import Origin
from little_monster.platform.password_rules import require_good_password
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, invalid_token
from little_monster.platform.services import audit, email_codes, letters, sessions
from little_monster.platform.services.audit import SecurityEvent


async def require_password(resources: Resources, user_id: UUID, password: str) -> User:
    """Return the user when `password` is theirs.

    Raises:
        Forbidden: it is not.
    """
    user = await users.read(resources.database, user_id, fresh=True)
    if user is None:
        raise invalid_token()
    if not await resources.passwords.verify(user.password_hash, password):
        raise Forbidden("The password is wrong.", code="wrong_password")
    return user


async def change(
    resources: Resources, principal: Principal, *, current: str, new: str, origin: Origin
) -> User:
    """Change the password, and end all other sessions. Returns the user, who is told by `send_notice`.

    Raises:
        Forbidden: `current` is wrong.
        InvalidInput: `new` is easy to guess.
    """
    user = await require_password(resources, principal.user_id, current)
    await require_good_password(new, user.email, field="new_password")
    password_hash = await resources.passwords.hash(new)
    async with resources.database.session(user.id) as session:
        ended = await _set(session, user.id, password_hash, keep=principal.session_id)
        await audit.record(
            resources, session, SecurityEvent.PASSWORD_CHANGED, user.id, origin, sessions_ended=ended
        )
    return user


async def send_reset_code(resources: Resources, email: str, origin: Origin) -> None:
    """Send a code to the address when it has an account, unless it got enough of them.

    Nobody waits for this, so that an unknown address is answered as fast.
    """
    async with resources.database.session(None) as session:
        login = await users.find_login(session, email)
    if login is None:
        return
    async with resources.database.session(login.user_id) as session:
        user = await users.lock(session, login.user_id)
        if user is None:
            return
        code = await email_codes.issue(session, user, EmailCodePurpose.RESET_PASSWORD)
        await audit.record(resources, session, SecurityEvent.PASSWORD_RESET_REQUESTED, user.id, origin)
    if code is not None:
        letter = letters.password_reset(
            resources.settings.mail.sender, user.email, code, resources.settings.api.public_url
        )
        await deliver(resources.mailer, letter)


async def reset(resources: Resources, *, code: str, new: str, origin: Origin) -> User:
    """Set a new password with a code from the mail, and end all sessions. The second factor stays, and so do
    personal access tokens. Returns the user, who is told by `send_notice`.

    Raises:
        InvalidInput: the code is not good, or `new` is easy to guess.
    """
    found = await email_codes.find(resources, code, EmailCodePurpose.RESET_PASSWORD)
    user = await users.read(resources.database, found.user_id, fresh=True)
    if user is None:
        raise email_codes.invalid_code()
    await require_good_password(new, user.email, field="new_password")
    password_hash = await resources.passwords.hash(new)
    async with resources.database.session(user.id) as session:
        await email_codes.use(session, found)
        ended = await _set(session, user.id, password_hash, keep=None)
        # Who has the code reads the address.
        await users.set_email_verified(session, user.id, found.email)
        await audit.record(
            resources, session, SecurityEvent.PASSWORD_RESET, user.id, origin, sessions_ended=ended
        )
    return user


async def send_notice(resources: Resources, email: str) -> None:
    """Tell the user that the password has changed."""
    settings = resources.settings
    letter = letters.password_changed(settings.mail.sender, email, settings.api.public_url)
    await deliver(resources.mailer, letter)


async def _set(session: Session, user_id: UUID, password_hash: str, *, keep: UUID | None) -> int:
    """Replace the hash, end what the old password opened, and return how many sessions that were.

    A second factor that is on stays on, with its recovery codes, whoever reads the user's mail. One that was
    only begun is forgotten: who began it may have known no more than the old password.
    """
    await users.set_password(session, user_id, password_hash)
    await totp_credentials.delete_unconfirmed(session, user_id)
    await code_rows.expire_all(session, user_id, EmailCodePurpose.RESET_PASSWORD)
    return await sessions.end_all(session, user_id, but=keep)

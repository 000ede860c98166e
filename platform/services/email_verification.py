"""Whether the user reads the address of the account."""

from little_monster.db.models.email_codes import EmailCodePurpose
from little_monster.db.repositories import users
from little_monster.platform.errors import Conflict
from little_monster.platform.mail import deliver
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, invalid_token
from little_monster.platform.services import audit, email_codes, letters
from little_monster.platform.services.accounts import get_user
from little_monster.platform.services.audit import SecurityEvent


async def require_unverified(resources: Resources, principal: Principal) -> None:
    """Return when the address of the account is still to be verified.

    Raises:
        Conflict: it is verified.
    """
    user = await get_user(resources, principal, fresh=True)
    if user.email_verified_at is not None:
        raise Conflict("This e-mail address is verified.", code="email_verified")


async def send_code(resources: Resources, principal: Principal) -> None:
    """Send a code to the address of the account, unless it got enough of them."""
    async with resources.database.session(principal.user_id) as session:
        user = await users.lock(session, principal.user_id)
        if user is None:
            raise invalid_token()
        code = await email_codes.issue(session, user, EmailCodePurpose.VERIFY_EMAIL)
    if code is not None:
        letter = letters.verification(
            resources.settings.mail.sender, user.email, code, resources.settings.api.public_url
        )
        await deliver(resources.mailer, letter)


async def verify(resources: Resources, code: str, origin: Origin) -> None:
    """Take a code that came back.

    Raises:
        InvalidInput: the code is not good, or the address is no longer that of the account.
    """
    found = await email_codes.find(resources, code, EmailCodePurpose.VERIFY_EMAIL)
    async with resources.database.session(found.user_id) as session:
        await email_codes.use(session, found)
        if not await users.set_email_verified(session, found.user_id, found.email):
            raise email_codes.invalid_code()
        await audit.record(resources, session, SecurityEvent.EMAIL_VERIFIED, found.user_id, origin)

"""The second factor: codes of an authenticator application (TOTP, RFC 6238), and what replaces it when it is
lost."""

import base64
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID

from pyotp import HOTP, TOTP, random_base32

from little_monster.db.errors import DuplicateKey
from little_monster.db.models.totp_credentials import TotpCredential
from little_monster.db.repositories import recovery_codes, totp_credentials
from little_monster.db.session import Session
from little_monster.platform.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    ProblemError,
    RateLimited,
    Unauthenticated,
)
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal, digest_token
from little_monster.platform.services import audit, passwords
from little_monster.platform.services.audit import SecurityEvent

ISSUER = "Little Monster"
STEP_S = 30
# A clock that is off by one period is still right (RFC 6238, section 5.2).
TOLERATED_STEPS = (-1, 0, 1)
# For one account, from wherever: a million codes must not be tried in the life of one.
ATTEMPTS_PER_MINUTE = 5
RECOVERY_CODES = 10
RECOVERY_CODE_BYTES = 10


@dataclass(frozen=True, slots=True)
class Proof:
    """What a log-in shows of the second factor."""

    totp_code: str | None = None
    recovery_code: str | None = None

    @property
    def given(self) -> bool:
        return self.totp_code is not None or self.recovery_code is not None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator application needs: the secret (base32), also inside of an `otpauth://` URI."""

    secret: str
    uri: str


class Outcome(Enum):
    """What a proof is worth. `PASSED` also for who has no second factor."""

    PASSED = auto()
    MISSING = auto()
    WRONG = auto()


async def begin(resources: Resources, principal: Principal, password: str) -> Enrolment:
    """Make a secret. Log-ins do not ask for it before `confirm`; beginning again replaces it.

    The password is asked for here and not again by `confirm`: only who was shown the secret has its codes.

    Raises:
        Forbidden: the password is wrong.
        Conflict: the user has a second factor.
    """
    user = await passwords.require_password(resources, principal.user_id, password)
    secret = random_base32()
    try:
        async with resources.database.session(user.id) as session:
            encrypted = resources.cipher.encrypt(secret)
            await totp_credentials.create(session, user_id=user.id, secret=encrypted)
    except DuplicateKey:
        raise Conflict("The second factor is on already.", code="totp_enabled") from None
    return Enrolment(secret, TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER))


async def confirm(resources: Resources, principal: Principal, code: str, origin: Origin) -> Sequence[str]:
    """Turn the second factor on with a code of the application, and return the recovery codes, which are
    kept nowhere as they are.

    Raises:
        NotFound: there is nothing to confirm.
        InvalidInput: the code is wrong.
        RateLimited: there were too many attempts.
    """
    await limit_attempts(resources, principal.user_id, Proof(code))
    async with resources.database.session(principal.user_id) as session:
        credential = await totp_credentials.get(session, principal.user_id)
        if credential is None or credential.confirmed_at is not None:
            raise _nothing_to_confirm()
        step = _step_of(resources.cipher.decrypt(credential.secret), code)
        if step is None:
            raise InvalidInput(
                "The code is wrong.",
                code="invalid_totp_code",
                errors=[{"field": "body.code", "message": "is not the code of now"}],
            )
        if not await totp_credentials.confirm(session, credential.id, step=step):
            raise _nothing_to_confirm()
        codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
        await recovery_codes.replace_all(session, principal.user_id, map(_digest_recovery_code, codes))
        await audit.record(resources, session, SecurityEvent.TOTP_ENABLED, principal.user_id, origin)
    return codes


async def disable(resources: Resources, principal: Principal, password: str, origin: Origin) -> None:
    """Turn the second factor off, or forget one that was begun.

    Raises:
        Forbidden: the password is wrong.
        NotFound: there is none.
    """
    await passwords.require_password(resources, principal.user_id, password)
    async with resources.database.session(principal.user_id) as session:
        if not await totp_credentials.delete(session, principal.user_id):
            raise NotFound("There is no second factor.", code="totp_not_found")
        await recovery_codes.delete_all(session, principal.user_id)
        await audit.record(resources, session, SecurityEvent.TOTP_DISABLED, principal.user_id, origin)


async def limit_attempts(resources: Resources, user_id: UUID, proof: Proof) -> None:
    """Count an attempt on the second factor of one account. Only who knows the password comes this far, so
    that nobody else locks the user out.

    Raises:
        RateLimited: there were too many in this minute.
    """
    if not proof.given:
        return
    decision = await resources.limiter.hit("second_factor", str(user_id), ATTEMPTS_PER_MINUTE)
    if not decision.allowed:
        raise RateLimited(
            f"More than {ATTEMPTS_PER_MINUTE} codes in a minute.", retry_after_s=decision.reset_s
        )


async def check(
    resources: Resources, session: Session, user_id: UUID, proof: Proof, origin: Origin
) -> Outcome:
    """Say what the proof is worth; a code that is right is used up with the transaction."""
    credential = await totp_credentials.get(session, user_id)
    if credential is None or credential.confirmed_at is None:
        return Outcome.PASSED
    if proof.totp_code is not None:
        passed = await _use_totp(resources, session, credential, proof.totp_code)
    elif proof.recovery_code is not None:
        passed = await _use_recovery_code(resources, session, user_id, proof.recovery_code, origin)
    else:
        return Outcome.MISSING
    return Outcome.PASSED if passed else Outcome.WRONG


def refused(outcome: Outcome) -> ProblemError:
    """Return the error for a log-in whose password was right."""
    if outcome is Outcome.MISSING:
        return Unauthenticated(
            "The code of the authenticator application is needed: send it as `totp_code`, or a"
            " `recovery_code`.",
            code="totp_required",
        )
    return Unauthenticated("The code is wrong, or was used before.", code="invalid_second_factor")


async def _use_totp(resources: Resources, session: Session, credential: TotpCredential, code: str) -> bool:
    secret = resources.cipher.decrypt(credential.secret)
    step = _step_of(secret, code)
    if step is None:
        return False
    # Encrypted anew, so that a previous key is needed no longer.
    encrypted = resources.cipher.encrypt(secret)
    return await totp_credentials.use_step(session, credential.id, step=step, secret=encrypted)


async def _use_recovery_code(
    resources: Resources, session: Session, user_id: UUID, code: str, origin: Origin
) -> bool:
    if not await recovery_codes.consume(session, user_id, _digest_recovery_code(code)):
        return False
    left = await recovery_codes.count_left(session, user_id)
    await audit.record(resources, session, SecurityEvent.RECOVERY_CODE_USED, user_id, origin, left=left)
    return True


def _step_of(secret: str, code: str) -> int | None:
    """Return which period `code` is the code of, None when of none that is tolerated now."""
    codes, now = HOTP(secret), int(time.time()) // STEP_S
    found = None
    for step in (now + offset for offset in TOLERATED_STEPS):
        if hmac.compare_digest(codes.at(step), code):
            found = step
    return found


def _new_recovery_code() -> str:
    """Return 80 random bits as `abcd-efgh-ijkl-mnop`."""
    text = base64.b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _digest_recovery_code(code: str) -> bytes:
    """A fast hash is right, as the code is random. People type dashes and spaces as they like."""
    return digest_token("".join(character for character in code.lower() if character.isalnum()))


def _nothing_to_confirm() -> NotFound:
    return NotFound("There is no second factor to confirm: begin first.", code="totp_not_found")

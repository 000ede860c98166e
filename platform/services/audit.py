"""The audit trail of an account: what touched its security, in the database and in the logs."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import structlog

from little_monster.db.models.audit_events import AuditEvent
from little_monster.db.repositories import audit_events
from little_monster.db.session import Session
from little_monster.platform.origin import Origin
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal

_log = structlog.get_logger(__name__)


class SecurityEvent(StrEnum):
    """What happened."""

    REGISTERED = "registered"
    LOGGED_IN = "login"
    LOGIN_FAILED = "login_failed"
    LOGGED_OUT = "logout"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"
    SESSION_REVOKED = "session_revoked"
    SESSIONS_REVOKED = "sessions_revoked"
    EMAIL_VERIFIED = "email_verified"
    PASSWORD_CHANGED = "password_changed"
    PASSWORD_RESET_REQUESTED = "password_reset_requested"
    PASSWORD_RESET = "password_reset"
    TOKEN_CREATED = "token_created"
    TOKEN_REVOKED = "token_revoked"
    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"
    TOTP_ENABLED = "totp_enabled"
    TOTP_DISABLED = "totp_disabled"
    RECOVERY_CODE_USED = "recovery_code_used"
    ROLE_CHANGED = "role_changed"
    EXPORT_REQUESTED = "export_requested"
    EXPORT_DOWNLOADED = "export_downloaded"
    ACCOUNT_DELETED = "account_deleted"


# Whoever caused these has not proved to be the user.
_UNPROVEN = frozenset(
    {
        SecurityEvent.LOGIN_FAILED,
        SecurityEvent.REFRESH_TOKEN_REUSED,
        SecurityEvent.PASSWORD_RESET_REQUESTED,
    }
)


async def record(
    resources: Resources,
    session: Session,
    event: SecurityEvent,
    user_id: UUID | None,
    origin: Origin,
    **details: str | int | UUID,
) -> None:
    """Add an event to the trail of `user_id`, whose session `session` is, and to the logs.

    Args:
        details: what else is to be known; never an address, a name or a secret.
    """
    kept = {name: str(value) if isinstance(value, UUID) else value for name, value in details.items()}
    await add(session, event, user_id, origin, kept)
    log(resources, event, user_id, origin, kept)


async def add(
    session: Session,
    event: SecurityEvent,
    user_id: UUID | None,
    origin: Origin,
    details: Mapping[str, str | int],
) -> None:
    """Add an event to the trail alone, for a transaction that may be repeated."""
    await audit_events.add(
        session,
        kind=event.value,
        user_id=user_id,
        actor_id=None if event in _UNPROVEN else user_id,
        address_prefix=origin.address_prefix,
        details=dict(details),
    )


def log(
    resources: Resources,
    event: SecurityEvent,
    user_id: UUID | None,
    origin: Origin,
    details: Mapping[str, str | int],
) -> None:
    """Write an event to the logs alone, when it stands in the trail."""
    write = _log.warning if event in _UNPROVEN else _log.info
    user = resources.tokens.pseudonym(user_id) if user_id is not None else None
    write("security_event", kind=event.value, user=user, network=origin.address_prefix, **details)


async def record_alone(
    resources: Resources,
    event: SecurityEvent,
    user_id: UUID | None,
    origin: Origin,
    **details: str | int | UUID,
) -> None:
    """Do the same in a transaction of its own. It takes as long for an account that there is none of."""
    async with resources.database.session(user_id) as session:
        await record(resources, session, event, user_id, origin, **details)


async def list_events(
    resources: Resources, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[AuditEvent]:
    """Return at most `limit` events of one's own account behind `after`, newest first."""
    async with resources.database.session(principal.user_id) as session:
        return await audit_events.list(session, limit=limit, after=after)

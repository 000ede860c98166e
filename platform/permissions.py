"""What a role may do beyond its own things, and what the scopes of a token allow. Row level security guards
the rest."""

from little_monster.platform.errors import Forbidden
from little_monster.platform.security import Principal

STUDENT, MODERATOR, ADMIN = "student", "moderator", "admin"
READ, WRITE = "read", "write"
_RANKS = {STUDENT: 0, MODERATOR: 1, ADMIN: 2}


def has_role(principal: Principal, role: str) -> bool:
    """Say whether the principal has `role` or a higher one."""
    return _RANKS.get(principal.role, -1) >= _RANKS[role]


def require_role(principal: Principal, role: str) -> None:
    """Return when the principal has `role` or a higher one.

    Raises:
        Forbidden: neither.
    """
    if not has_role(principal, role):
        raise Forbidden(f"This needs the role {role}.")


def require_scope(principal: Principal, scope: str) -> None:
    """Return when the principal logged in, or shows a personal access token with `scope`.

    Raises:
        Forbidden: the token is for something else.
    """
    if principal.scopes is not None and scope not in principal.scopes:
        raise Forbidden(f"This needs a token with the scope {scope}.", code="insufficient_scope")


def require_login(principal: Principal) -> None:
    """Return when the principal logged in: no token may change how its user logs in, or make more tokens.

    Raises:
        Forbidden: it shows a personal access token.
    """
    if principal.scopes is not None:
        raise Forbidden("This needs a log-in; a personal access token is not enough.", code="login_required")

"""What a role may do beyond its own things. Row level security guards the rest."""

from little_monster.platform.errors import Forbidden
from little_monster.platform.security import Principal

STUDENT, MODERATOR, ADMIN = "student", "moderator", "admin"
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

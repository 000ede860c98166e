"""What is wrong with the role that services connect as, when row level security would not bind it."""

from little_monster.db.errors import UnsafeRole

PROBLEMS = """
    SELECT CASE
        WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND pg_has_role(r.oid, 'MEMBER'))
            THEN 'is a superuser or can become one'
        WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolbypassrls AND pg_has_role(r.oid, 'MEMBER'))
            THEN 'bypasses row level security or can become a role that does'
        WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%'
                       AND n.nspname <> 'information_schema' AND pg_has_role(c.relowner, 'MEMBER'))
            THEN 'owns tables or can become a role that does'
        WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'lm_system' AND pg_has_role(r.oid, 'MEMBER'))
            THEN 'is a member of lm_system'
        WHEN NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'lm_app' AND pg_has_role(r.oid, 'USAGE'))
            THEN 'is not a member of lm_app'
    END, current_user
"""
"""Selects the problem, null when there is none, and the role."""


def require_safe(problem: str | None, role: str) -> None:
    """Return when row level security binds the role.

    Raises:
        UnsafeRole: it does not.
    """
    if problem:
        raise UnsafeRole(f"the database role {role} {problem}")

"""What admins see of all accounts, and how a role is given.

The functions follow the rules of `definers.py`. Each asks for the role that the user has now, as a token says
which one they had when it was issued. Addresses are not shown: a name and an id are enough to give a role.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import allow, give_away

LOCK = 7_045_771_204
"""Roles change one after the other, so that of two admins who take each other's role one stays."""

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
_SHOWN = "id uuid, display_name text, role public.user_role, created_at timestamptz, updated_at timestamptz"
_COLUMNS = "u.id, u.display_name, u.role, u.created_at, u.updated_at"
_ADMINS_ONLY = """
        IF NOT auth.has_role('admin') THEN
            RAISE insufficient_privilege USING MESSAGE = 'only an admin manages accounts';
        END IF;
"""

LIST_USERS = f"""
CREATE OR REPLACE FUNCTION auth.list_users(max_users int, seen_at timestamptz, seen_id uuid)
    RETURNS TABLE ({_SHOWN}) LANGUAGE plpgsql STABLE {_DEFINER}
    AS $$
    #variable_conflict use_column
    BEGIN
        {_ADMINS_ONLY}
        IF seen_id IS NULL THEN
            RETURN QUERY
            SELECT {_COLUMNS} FROM public.users u ORDER BY u.created_at DESC, u.id DESC LIMIT max_users;
        ELSE
            RETURN QUERY
            SELECT {_COLUMNS} FROM public.users u WHERE (u.created_at, u.id) < (seen_at, seen_id)
            ORDER BY u.created_at DESC, u.id DESC LIMIT max_users;
        END IF;
    END
    $$
"""

FIND_USER = f"""
CREATE OR REPLACE FUNCTION auth.find_user(target uuid)
    RETURNS TABLE ({_SHOWN}) LANGUAGE plpgsql STABLE {_DEFINER}
    AS $$
    #variable_conflict use_column
    BEGIN
        {_ADMINS_ONLY}
        RETURN QUERY SELECT {_COLUMNS} FROM public.users u WHERE u.id = target;
    END
    $$
"""

# Who asks is an admin, and not the target: one admin always stays. The lock comes first, as each statement
# sees what was committed before it began.
SET_ROLE = f"""
CREATE OR REPLACE FUNCTION auth.set_role(
        target uuid, new_role text, seen timestamptz, event uuid, network text
    ) RETURNS text LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    DECLARE
        before text;
        changed timestamptz;
    BEGIN
        PERFORM pg_advisory_xact_lock({LOCK});
        {_ADMINS_ONLY}
        IF target = auth.uid() THEN
            RETURN 'own';
        END IF;
        SELECT u.role::text, u.updated_at INTO before, changed FROM public.users u
        WHERE u.id = target FOR NO KEY UPDATE;
        IF before IS NULL THEN
            RETURN 'missing';
        ELSIF changed <> seen THEN
            RETURN 'stale';
        ELSIF before = new_role THEN
            RETURN 'same';
        END IF;
        UPDATE public.users u SET role = new_role::public.user_role WHERE u.id = target;
        INSERT INTO public.audit_events (id, user_id, actor_id, kind, address_prefix, details)
        VALUES (event, target, auth.uid(), 'role_changed', network,
            jsonb_build_object('from', before, 'to', new_role));
        RETURN 'changed';
    END
    $$
"""

FUNCTIONS = {
    "auth.list_users(int, timestamptz, uuid)": LIST_USERS,
    "auth.find_user(uuid)": FIND_USER,
    "auth.set_role(uuid, text, timestamptz, uuid, text)": SET_ROLE,
}

_RIGHTS = {
    "SELECT (display_name, created_at, updated_at)": "users",
    "UPDATE (role)": "users",
    "INSERT (id, user_id, actor_id, kind, address_prefix, details)": "audit_events",
}

_POLICIES = {
    ("users", "system_update"): "FOR UPDATE TO lm_system USING (true)",
    ("audit_events", "system_insert"): "FOR INSERT TO lm_system WITH CHECK (kind = 'role_changed')",
}


def create() -> Iterator[str]:
    """Yield what makes the functions, gives them to lm_system, and lets lm_app call them."""
    yield from FUNCTIONS.values()
    yield from give_away(FUNCTIONS, "auth")
    yield from allow(_RIGHTS, _POLICIES)


def drop() -> Iterator[str]:
    """Yield what removes the functions, and what they were allowed."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"
    for table, policy in _POLICIES:
        yield f"DROP POLICY IF EXISTS {policy} ON {table}"
    for right, table in _RIGHTS.items():
        yield f"REVOKE {right} ON {table} FROM lm_system"

"""The functions by which nobody's session finds the owner of an address or a token, and lm_system's rights on
the first tables. Each other file of this folder lists its own in `FUNCTIONS`; nothing else crosses that line.

They run as lm_system (SECURITY DEFINER) with a pinned search path, take no SQL, and return the least that
their caller needs. Below them stand lm_system's rights: only these columns, only these rows.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import define

FIND_LOGIN = """
CREATE OR REPLACE FUNCTION auth.find_login(login_email text)
    RETURNS TABLE (user_id uuid, password_hash text, role public.user_role)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT u.id, u.password_hash, u.role FROM public.users u WHERE lower(u.email) = lower(login_email)
    $$
"""

FIND_REFRESH_TOKEN_OWNER = """
CREATE OR REPLACE FUNCTION auth.find_refresh_token_owner(hash bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT t.user_id FROM public.refresh_tokens t WHERE t.token_hash = hash $$
"""

FUNCTIONS = {
    "auth.find_login(text)": FIND_LOGIN,
    "auth.find_refresh_token_owner(bytea)": FIND_REFRESH_TOKEN_OWNER,
}

_RIGHTS = (
    "GRANT SELECT (id, email, password_hash, role) ON users TO lm_system",
    "GRANT SELECT (user_id, token_hash) ON refresh_tokens TO lm_system",
    "GRANT SELECT ON jobs TO lm_system",
    "GRANT UPDATE (status, attempts, leased_by, leased_until, started_at, finished_at, error_code,"
    " error_reason) ON jobs TO lm_system",
    "GRANT SELECT (id, user_id, embedding_status) ON user_documents TO lm_system",
    "GRANT UPDATE (embedding_status, error_code, error_reason) ON user_documents TO lm_system",
)

_SEES = {
    "users": ("SELECT",),
    "refresh_tokens": ("SELECT",),
    "jobs": ("SELECT", "UPDATE"),
    "user_documents": ("SELECT", "UPDATE"),
}


def create() -> Iterator[str]:
    """Yield what makes the functions, gives them to lm_system, and lets lm_app call them."""
    yield "CREATE SCHEMA IF NOT EXISTS queue"
    yield "GRANT USAGE ON SCHEMA queue TO lm_app"
    yield from define(FUNCTIONS, "auth")
    yield from _RIGHTS
    for table, commands in _SEES.items():
        for command in commands:
            yield from _see(table, command)


def _see(table: str, command: str) -> Iterator[str]:
    name = f"system_{command.lower()}"
    yield f"DROP POLICY IF EXISTS {name} ON {table}"
    yield f"CREATE POLICY {name} ON {table} FOR {command} TO lm_system USING (true)"

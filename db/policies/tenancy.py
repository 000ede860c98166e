"""Who sees which rows: forced row level security on every table, and one policy for its owner."""

from collections.abc import Iterator

AUTH_SCHEMA = (
    "CREATE SCHEMA IF NOT EXISTS auth",
    """
    CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
        AS $$ SELECT nullif(pg_catalog.current_setting('app.user_id', true), '')::uuid $$
    """,
    "REVOKE ALL ON FUNCTION auth.uid() FROM PUBLIC",
    "GRANT USAGE ON SCHEMA auth, public TO lm_app, lm_system",
    "GRANT EXECUTE ON FUNCTION auth.uid() TO lm_app",
)

# The sub-select makes PostgreSQL ask for the user once a statement, and not once a row.
_UID = "(SELECT auth.uid())"

TENANT_TABLES = (
    "refresh_tokens",
    "user_documents",
    "document_chunks",
    "chat_conversations",
    "chat_messages",
    "jobs",
)


def protect(table: str) -> Iterator[str]:
    """Yield what lets members of lm_app do everything with the rows of `table` whose `user_id` is theirs."""
    yield from _force(table)
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO lm_app"
    yield f"DROP POLICY IF EXISTS owner ON {table}"
    yield f"CREATE POLICY owner ON {table} TO lm_app USING (user_id = {_UID}) WITH CHECK (user_id = {_UID})"


def protect_users() -> Iterator[str]:
    """Yield what lets a user see and change their account, and make one as a student; nobody sets their own
    role.
    """
    yield from _force("users")
    yield "GRANT SELECT, INSERT, DELETE ON users TO lm_app"
    yield (
        "GRANT UPDATE (email, password_hash, display_name, avatar_color, subjects, preferences,"
        " last_active_at) ON users TO lm_app"
    )
    rules = {
        "SELECT": f"USING (id = {_UID})",
        "INSERT": f"WITH CHECK (id = {_UID} AND role = 'student')",
        "UPDATE": f"USING (id = {_UID}) WITH CHECK (id = {_UID})",
        "DELETE": f"USING (id = {_UID})",
    }
    for command, rule in rules.items():
        name = f"owner_{command.lower()}"
        yield f"DROP POLICY IF EXISTS {name} ON users"
        yield f"CREATE POLICY {name} ON users FOR {command} TO lm_app {rule}"


def _force(table: str) -> Iterator[str]:
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"

"""Sessions, one-time codes, tokens, the second factor and the audit trail: who sees which rows, and what
must be found before it is known whose it is.

The functions follow the rules of `definers.py`.
"""

from collections.abc import Iterator

from little_monster.db.policies import tenancy
from little_monster.db.policies.functions import define

TENANT_TABLES = (
    "sessions",
    "email_codes",
    "personal_access_tokens",
    "totp_credentials",
    "recovery_codes",
)

AUDIT_TABLE = "audit_events"

FIND_EMAIL_CODE_OWNER = """
CREATE OR REPLACE FUNCTION auth.find_email_code_owner(hash bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT c.user_id FROM public.email_codes c WHERE c.code_hash = hash $$
"""

# The time of use is written once a minute at most, so that a busy script does not make a row version a
# request.
USE_PERSONAL_ACCESS_TOKEN = """
CREATE OR REPLACE FUNCTION auth.use_personal_access_token(hash bytea)
    RETURNS TABLE (token_id uuid, user_id uuid, role public.user_role, scopes text[])
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    BEGIN
        UPDATE public.personal_access_tokens t SET last_used_at = now()
        WHERE t.token_hash = hash AND t.revoked_at IS NULL
            AND (t.expires_at IS NULL OR t.expires_at > now())
            AND (t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute');

        RETURN QUERY
        SELECT t.id, t.user_id, u.role, t.scopes
        FROM public.personal_access_tokens t JOIN public.users u ON u.id = t.user_id
        WHERE t.token_hash = hash AND t.revoked_at IS NULL
            AND (t.expires_at IS NULL OR t.expires_at > now());
    END
    $$
"""

FUNCTIONS = {
    "auth.find_email_code_owner(bytea)": FIND_EMAIL_CODE_OWNER,
    "auth.use_personal_access_token(bytea)": USE_PERSONAL_ACCESS_TOKEN,
}

_RIGHTS = (
    "GRANT SELECT (user_id, code_hash) ON email_codes TO lm_system",
    "GRANT SELECT (id, user_id, token_hash, scopes, expires_at, last_used_at, revoked_at)"
    " ON personal_access_tokens TO lm_system",
    "GRANT UPDATE (last_used_at) ON personal_access_tokens TO lm_system",
)

_SEES = (
    ("email_codes", "SELECT"),
    ("personal_access_tokens", "SELECT"),
    ("personal_access_tokens", "UPDATE"),
)

# That somebody reads an address says nothing of the next one.
_FORGET_VERIFIED_EMAIL = """
CREATE OR REPLACE FUNCTION forget_verified_email() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF lower(NEW.email) <> lower(OLD.email) THEN
            NEW.email_verified_at := NULL;
        END IF;
        RETURN NEW;
    END
    $$
"""


def create() -> Iterator[str]:
    """Yield what protects the tables and makes the functions and the trigger."""
    for table in TENANT_TABLES:
        yield from tenancy.protect(table)
    yield from _protect_audit()
    yield "GRANT UPDATE (email_verified_at) ON users TO lm_app"
    yield from _create_functions()
    yield _FORGET_VERIFIED_EMAIL
    yield (
        "CREATE OR REPLACE TRIGGER forget_verified_email BEFORE UPDATE OF email ON users"
        " FOR EACH ROW EXECUTE FUNCTION forget_verified_email()"
    )


def drop_functions() -> Iterator[str]:
    """Yield what removes the functions and the trigger; policies go with their tables."""
    yield "DROP TRIGGER IF EXISTS forget_verified_email ON users"
    yield "DROP FUNCTION IF EXISTS forget_verified_email()"
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"


def _protect_audit() -> Iterator[str]:
    """Only add and read: nobody but the owner of the table changes what happened."""
    yield from tenancy.protect(AUDIT_TABLE)
    yield f"REVOKE UPDATE, DELETE ON {AUDIT_TABLE} FROM lm_app"
    # An attempt on an account that there is none of belongs to nobody, and nobody reads it back.
    yield f"DROP POLICY IF EXISTS nobody_insert ON {AUDIT_TABLE}"
    yield (
        f"CREATE POLICY nobody_insert ON {AUDIT_TABLE} FOR INSERT TO lm_app"
        " WITH CHECK (user_id IS NULL AND (SELECT auth.uid()) IS NULL)"
    )


def _create_functions() -> Iterator[str]:
    yield from define(FUNCTIONS, "auth")
    yield from _RIGHTS
    for table, command in _SEES:
        policy = f"system_{command.lower()}"
        yield f"DROP POLICY IF EXISTS {policy} ON {table}"
        yield f"CREATE POLICY {policy} ON {table} FOR {command} TO lm_system USING (true)"

"""Accounts at other issuers: whose they are, and what must be found before it is known whose a token is.

The functions follow the rules of `definers.py`.
"""

from collections.abc import Iterator

from little_monster.db.policies import tenancy
from little_monster.db.policies.functions import allow, give_away

TENANT_TABLES = ("external_identities",)
ENDED_TABLE = "ended_identities"

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
# An issuer is a URL, in which no line ends.
_DIGEST = "sha256(convert_to({issuer} || E'\\n' || {subject}, 'UTF8'))"

# One row whatever there is. The time of use is written once an hour at most.
FIND_EXTERNAL_IDENTITY = f"""
CREATE OR REPLACE FUNCTION auth.find_external_identity(its_issuer text, its_subject text)
    RETURNS TABLE (user_id uuid, role public.user_role, ended_at timestamptz, barred boolean)
    LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    #variable_conflict use_column
    BEGIN
        UPDATE public.external_identities i SET last_used_at = now()
        WHERE i.issuer = its_issuer AND i.subject = its_subject
            AND (i.last_used_at IS NULL OR i.last_used_at < now() - interval '1 hour');

        RETURN QUERY
        SELECT u.id, u.role, e.ended_at, e.barred
        FROM (VALUES ({_DIGEST.format(issuer="its_issuer", subject="its_subject")})) AS asked (digest)
        LEFT JOIN public.external_identities i ON i.issuer = its_issuer AND i.subject = its_subject
        LEFT JOIN public.users u ON u.id = i.user_id
        LEFT JOIN public.ended_identities e ON e.digest = asked.digest;
    END
    $$
"""

# What decides whether an account may be linked by its address.
FIND_CLAIMED_ACCOUNT = f"""
CREATE OR REPLACE FUNCTION auth.find_claimed_account(claimed text)
    RETURNS TABLE (user_id uuid, role public.user_role, verified boolean, second_factor boolean)
    LANGUAGE sql STABLE {_DEFINER}
    AS $$
        SELECT u.id, u.role, u.email_verified_at IS NOT NULL,
            EXISTS (
                SELECT FROM public.totp_credentials t
                WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
            )
        FROM public.users u WHERE lower(u.email) = lower(claimed)
    $$
"""

# When the account goes, it is gone before the rows that go with it.
END_IDENTITY = f"""
CREATE OR REPLACE FUNCTION auth.end_identity() RETURNS trigger LANGUAGE plpgsql {_DEFINER}
    AS $$
    BEGIN
        INSERT INTO public.ended_identities AS e (digest, ended_at, barred)
        VALUES (
            {_DIGEST.format(issuer="OLD.issuer", subject="OLD.subject")},
            now(),
            EXISTS (SELECT FROM public.users u WHERE u.id = OLD.user_id)
        )
        ON CONFLICT (digest) DO UPDATE SET ended_at = excluded.ended_at, barred = excluded.barred;
        RETURN NULL;
    END
    $$
"""

FUNCTIONS = {
    "auth.find_external_identity(text, text)": FIND_EXTERNAL_IDENTITY,
    "auth.find_claimed_account(text)": FIND_CLAIMED_ACCOUNT,
    "auth.end_identity()": END_IDENTITY,
}

_RIGHTS = {
    "SELECT (issuer, subject, user_id, last_used_at)": "external_identities",
    "UPDATE (last_used_at)": "external_identities",
    "SELECT, INSERT, UPDATE": "ended_identities",
    "SELECT (email_verified_at)": "users",
    "SELECT (user_id, confirmed_at)": "totp_credentials",
}

_POLICIES = {
    ("external_identities", "system_select"): "FOR SELECT TO lm_system USING (true)",
    ("external_identities", "system_update"): "FOR UPDATE TO lm_system USING (true)",
    ("ended_identities", "system_all"): "TO lm_system USING (true)",
    ("totp_credentials", "system_select"): "FOR SELECT TO lm_system USING (true)",
}


def create() -> Iterator[str]:
    """Yield what protects the tables, and makes their functions and the trigger."""
    for table in TENANT_TABLES:
        yield from tenancy.protect(table)
    yield f"ALTER TABLE {ENDED_TABLE} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {ENDED_TABLE} FORCE ROW LEVEL SECURITY"
    yield from FUNCTIONS.values()
    # Before the function is given away: only who may call it can make a trigger of it.
    yield (
        "CREATE OR REPLACE TRIGGER end_identity AFTER DELETE ON external_identities"
        " FOR EACH ROW EXECUTE FUNCTION auth.end_identity()"
    )
    yield from give_away(FUNCTIONS, "auth")
    yield from allow(_RIGHTS, _POLICIES)


def drop() -> Iterator[str]:
    """Yield what removes the functions, whose tables are gone, and what they were allowed of others."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"
    yield "DROP POLICY IF EXISTS system_select ON totp_credentials"
    yield "REVOKE SELECT (user_id, confirmed_at) ON totp_credentials FROM lm_system"
    yield "REVOKE SELECT (email_verified_at) ON users FROM lm_system"

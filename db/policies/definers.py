"""All functions that see more than one user's rows of accounts, documents and jobs; those of the community
stand in `content.py`. Nothing else crosses that line.

They run as lm_system (SECURITY DEFINER) with a pinned search path, take no SQL, and return the least that
their caller needs. Below them stand lm_system's rights: only these columns, only these rows.
"""

from collections.abc import Iterator

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

# SKIP LOCKED lets many workers claim at once and never the same job.
CLAIM_JOBS = """
CREATE OR REPLACE FUNCTION queue.claim_jobs(worker text, kinds text[], max_jobs int, lease_s float8)
    RETURNS TABLE (
        id uuid, user_id uuid, kind text, subject_id uuid, payload jsonb, attempts bigint, max_attempts bigint
    )
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    BEGIN
        WITH lost AS (
            SELECT j.id FROM public.jobs j
            WHERE j.status = 'running' AND j.leased_until < now() AND j.attempts >= j.max_attempts
                AND j.kind = ANY (kinds)
            FOR UPDATE SKIP LOCKED
        ), failed AS (
            UPDATE public.jobs j
            SET status = 'failed', finished_at = now(), leased_by = NULL, leased_until = NULL,
                error_code = 'worker_lost',
                error_reason = 'The worker stopped before the job was done, ' || j.attempts || ' times.'
            FROM lost WHERE j.id = lost.id
            RETURNING j.user_id, j.kind, j.subject_id, j.error_code, j.error_reason
        )
        UPDATE public.user_documents d
        SET embedding_status = 'failed', error_code = failed.error_code, error_reason = failed.error_reason
        FROM failed
        WHERE failed.kind = 'ingest_document' AND d.id = failed.subject_id AND d.user_id = failed.user_id
            AND d.embedding_status IN ('pending', 'processing');

        RETURN QUERY
        WITH due AS (
            SELECT j.id FROM public.jobs j
            WHERE j.kind = ANY (kinds) AND j.attempts < j.max_attempts
                AND ((j.status = 'queued' AND j.run_after <= now())
                    OR (j.status = 'running' AND j.leased_until < now()))
            ORDER BY j.run_after, j.id
            LIMIT max_jobs
            FOR UPDATE SKIP LOCKED
        )
        UPDATE public.jobs j
        SET status = 'running', attempts = j.attempts + 1, leased_by = worker,
            leased_until = now() + make_interval(secs => lease_s), started_at = coalesce(j.started_at, now())
        FROM due WHERE j.id = due.id
        RETURNING j.id, j.user_id, j.kind, j.subject_id, j.payload, j.attempts, j.max_attempts;
    END
    $$
"""

FUNCTIONS = {
    "auth.find_login(text)": FIND_LOGIN,
    "auth.find_refresh_token_owner(bytea)": FIND_REFRESH_TOKEN_OWNER,
    "queue.claim_jobs(text, text[], int, float8)": CLAIM_JOBS,
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
    # Only who may create in a schema can own a function there; taken back below.
    yield "GRANT CREATE, USAGE ON SCHEMA auth, queue TO lm_system"
    for name, statement in FUNCTIONS.items():
        yield statement
        yield f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {name} TO lm_app"
        yield f"ALTER FUNCTION {name} OWNER TO lm_system"
    yield "REVOKE CREATE ON SCHEMA auth, queue FROM lm_system"
    yield from _RIGHTS
    for table, commands in _SEES.items():
        for command in commands:
            yield from _see(table, command)


def _see(table: str, command: str) -> Iterator[str]:
    name = f"system_{command.lower()}"
    yield f"DROP POLICY IF EXISTS {name} ON {table}"
    yield f"CREATE POLICY {name} ON {table} FOR {command} TO lm_system USING (true)"

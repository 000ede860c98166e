"""Who may do what with the queue, and the functions by which a worker gets from an entry to its job.

A worker's connection belongs to nobody, and sees all entries: ids of jobs, nothing that a user wrote. What
the job is about it learns from `begin_job`, and then works as the job's owner. A user's session sees the
entries of its own jobs. The functions follow the rules of `definers.py`.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import define, undefine

TABLES = ("pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics")

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

# A job that runs already is taken from its worker: that one has been silent for too long, or is gone.
BEGIN_JOB = f"""
CREATE OR REPLACE FUNCTION queue.begin_job(job uuid, worker text)
    RETURNS TABLE (
        id uuid, user_id uuid, kind text, subject_id uuid, payload jsonb, attempts bigint, max_attempts bigint
    )
    LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    #variable_conflict use_column
    BEGIN
        WITH failed AS (
            UPDATE public.jobs j
            SET status = 'failed', finished_at = now(), leased_by = NULL,
                error_code = 'worker_lost',
                error_reason = 'The worker stopped before the job was done, ' || j.attempts || ' times.'
            WHERE j.id = job AND j.status IN ('queued', 'running') AND j.attempts >= j.max_attempts
            RETURNING j.user_id, j.kind, j.subject_id, j.error_code, j.error_reason
        )
        UPDATE public.user_documents d
        SET embedding_status = 'failed', error_code = failed.error_code, error_reason = failed.error_reason
        FROM failed
        WHERE failed.kind = 'ingest_document' AND d.id = failed.subject_id AND d.user_id = failed.user_id
            AND d.embedding_status IN ('pending', 'processing');

        RETURN QUERY
        UPDATE public.jobs j
        SET status = 'running', attempts = j.attempts + 1, leased_by = worker,
            started_at = coalesce(j.started_at, now())
        WHERE j.id = job AND j.status IN ('queued', 'running')
        RETURNING j.id, j.user_id, j.kind, j.subject_id, j.payload, j.attempts, j.max_attempts;
    END
    $$
"""

LOST_JOBS = f"""
CREATE OR REPLACE FUNCTION queue.lost_jobs(untouched interval, max_jobs int)
    RETURNS TABLE (id uuid, user_id uuid) LANGUAGE sql STABLE {_DEFINER}
    AS $$
        SELECT j.id, j.user_id FROM public.jobs j
        WHERE j.status IN ('queued', 'running') AND j.updated_at < now() - untouched
            AND NOT EXISTS (
                SELECT FROM queue.pgqueuer q
                WHERE q.dedupe_key = j.id::text AND q.status IN ('queued', 'picked')
            )
        ORDER BY j.updated_at LIMIT max_jobs
    $$
"""

FUNCTIONS = {
    "queue.begin_job(uuid, text)": BEGIN_JOB,
    "queue.lost_jobs(interval, int)": LOST_JOBS,
}

_UID = "(SELECT auth.uid())"
_WORKER = f"TO lm_app USING ({_UID} IS NULL) WITH CHECK ({_UID} IS NULL)"
_OWN = f"headers ->> 'owner' = {_UID}::text"
_POLICIES = {
    **{(table, "worker"): _WORKER for table in TABLES},
    ("pgqueuer", "owner"): f"TO lm_app USING ({_OWN}) WITH CHECK ({_OWN})",
    # What PgQueuer notes when an entry is made or cancelled; nobody but a worker reads it.
    ("pgqueuer_log", "owner"): f"FOR INSERT TO lm_app WITH CHECK ({_UID} IS NOT NULL)",
    ("pgqueuer", "system_select"): "FOR SELECT TO lm_system USING (true)",
}


def create() -> Iterator[str]:
    """Yield what protects the tables and makes the functions."""
    for table in TABLES:
        yield f"ALTER TABLE queue.{table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE queue.{table} FORCE ROW LEVEL SECURITY"
        yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON queue.{table} TO lm_app"
    yield "GRANT USAGE ON ALL SEQUENCES IN SCHEMA queue TO lm_app"
    for (table, policy), rule in _POLICIES.items():
        yield f"DROP POLICY IF EXISTS {policy} ON queue.{table}"
        yield f"CREATE POLICY {policy} ON queue.{table} {rule}"
    yield "GRANT SELECT (dedupe_key, status) ON queue.pgqueuer TO lm_system"
    yield from define(FUNCTIONS, "queue")


def drop() -> Iterator[str]:
    """Yield what removes the functions; the policies go with their tables."""
    yield from undefine(FUNCTIONS)

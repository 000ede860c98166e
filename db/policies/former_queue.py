"""How workers took jobs up to migration 0008, from their own table."""

from collections.abc import Iterator

from little_monster.db.policies.functions import define, undefine

# SKIP LOCKED lets many workers claim at once and never the same job.
_CLAIM_JOBS = """
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

_NOTIFY = """
CREATE OR REPLACE FUNCTION notify_queued_job() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM pg_catalog.pg_notify('jobs', NEW.kind);
        RETURN NULL;
    END
    $$
"""

_TRIGGER = (
    "CREATE OR REPLACE TRIGGER notify_queued_job AFTER INSERT ON jobs"
    " FOR EACH ROW WHEN (NEW.status = 'queued') EXECUTE FUNCTION notify_queued_job()"
)

_FUNCTIONS = {"queue.claim_jobs(text, text[], int, float8)": _CLAIM_JOBS}


def create() -> Iterator[str]:
    """Yield what makes the function, and the word that a job is queued."""
    yield from define(_FUNCTIONS, "queue")
    yield _NOTIFY
    yield _TRIGGER


def drop() -> Iterator[str]:
    """Yield what removes them."""
    yield "DROP TRIGGER IF EXISTS notify_queued_job ON jobs"
    yield "DROP FUNCTION IF EXISTS notify_queued_job()"
    yield from undefine(_FUNCTIONS)

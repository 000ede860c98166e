"""Which files of finished work are due to be removed, whosever they are. It follows the rules of
`definers.py`."""

from collections.abc import Iterator

from little_monster.db.policies.functions import define

# SELECT ON jobs is lm_system's already, for the queue.
FIND_EXPIRED = """
CREATE OR REPLACE FUNCTION queue.find_expired(job_kind text, until timestamptz, max_jobs int)
    RETURNS TABLE (id uuid, user_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT j.id, j.user_id FROM public.jobs j
        WHERE j.kind = job_kind AND j.expires_at <= until AND j.result IS NOT NULL
        ORDER BY j.expires_at, j.id LIMIT max_jobs
    $$
"""

FUNCTIONS = {"queue.find_expired(text, timestamptz, int)": FIND_EXPIRED}


def create() -> Iterator[str]:
    """Yield what makes the function, gives it to lm_system, and lets lm_app call it."""
    yield from define(FUNCTIONS, "queue")


def drop() -> Iterator[str]:
    """Yield what removes it."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"

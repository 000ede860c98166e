"""How what is of no more use goes, whosever it is.

A worker's session belongs to nobody, and may only say for how long things are kept after their end, never
which of them go. Each function takes a few rows at a time, leaves those alone that somebody else holds, and
keeps what has not ended whatever it is told. The functions follow the rules of `definers.py`.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import define, undefine

_HEAD = """
CREATE OR REPLACE FUNCTION retention.{name}(kept interval, max_rows int) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        until timestamptz := now() - greatest(kept, interval '1 hour');
        {declared}
    BEGIN
        IF auth.uid() IS NOT NULL THEN
            RAISE insufficient_privilege USING MESSAGE = 'only a worker sweeps';
        END IF;
"""

# Of an ARRAY, as a sub-select with LIMIT may otherwise be asked for again for each row.
_ENDED = (
    _HEAD
    + """
        DELETE FROM public.{table} WHERE id = ANY (ARRAY(
            SELECT r.id FROM public.{table} r WHERE {ended} LIMIT max_rows FOR UPDATE SKIP LOCKED
        ));
        GET DIAGNOSTICS gone = ROW_COUNT;
        RETURN gone;
    END
    $$
"""
)

# A used token betrays a thief for as long as its log-in can be refreshed: all tokens of one go together, when
# the last of them is of no use. The row of the log-in is locked first, as who refreshes or ends it does.
SWEEP_SESSIONS = (
    _HEAD.format(name="sweep_sessions", declared="ended uuid[]; gone bigint; more bigint;")
    + """
        ended := ARRAY(
            SELECT s.id FROM public.sessions s
            WHERE s.last_used_at < until AND (
                s.revoked_at < until OR NOT EXISTS (
                    SELECT FROM public.refresh_tokens t
                    WHERE t.user_id = s.user_id AND t.family_id = s.id AND t.expires_at >= until
                )
            )
            ORDER BY s.last_used_at LIMIT max_rows FOR UPDATE SKIP LOCKED
        );
        DELETE FROM public.refresh_tokens WHERE id = ANY (ARRAY(
            SELECT t.id FROM public.sessions s
            JOIN public.refresh_tokens t ON t.user_id = s.user_id AND t.family_id = s.id
            WHERE s.id = ANY (ended) LIMIT max_rows FOR UPDATE OF t SKIP LOCKED
        ));
        GET DIAGNOSTICS gone = ROW_COUNT;
        DELETE FROM public.sessions s WHERE s.id = ANY (ended) AND NOT EXISTS (
            SELECT FROM public.refresh_tokens t WHERE t.user_id = s.user_id AND t.family_id = s.id
        );
        GET DIAGNOSTICS more = ROW_COUNT;
        RETURN gone + more;
    END
    $$
"""
)

# An export that is done leads to its file until that is removed, and its result with it.
_JOB_ENDED = (
    "r.finished_at < until AND r.status IN ('completed', 'failed', 'cancelled')"
    " AND NOT (r.kind = 'export_account' AND r.status = 'completed' AND r.result IS NOT NULL)"
)
_TABLES = {
    "email_codes": ("email_codes", "r.expires_at < until"),
    "read_notifications": ("notifications", "r.read_at < until"),
    "unread_notifications": ("notifications", "r.read_at IS NULL AND r.created_at < until"),
    "personal_tokens": ("personal_access_tokens", "r.revoked_at < until OR r.expires_at < until"),
    "calendar_feeds": ("calendar_feeds", "r.revoked_at < until"),
    "jobs": ("jobs", _JOB_ENDED),
}

_SIGNATURE = "retention.sweep_{}(interval, int)"
FUNCTIONS = {
    _SIGNATURE.format("sessions"): SWEEP_SESSIONS,
    **{
        _SIGNATURE.format(name): _ENDED.format(
            name=f"sweep_{name}", declared="gone bigint;", table=table, ended=ended
        )
        for name, (table, ended) in _TABLES.items()
    },
}

# What is read to tell that a row has ended; of jobs and personal tokens lm_system reads it already.
_READS = {
    "sessions": "id, user_id, last_used_at, revoked_at",
    "refresh_tokens": "id, family_id, expires_at",
    "email_codes": "id, expires_at",
    "notifications": "id, read_at, created_at",
    "calendar_feeds": "id",
}
_SWEPT = (*_READS, "personal_access_tokens", "jobs")


def create() -> Iterator[str]:
    """Yield what makes the functions, and what they may do."""
    yield "CREATE SCHEMA IF NOT EXISTS retention"
    yield "GRANT USAGE ON SCHEMA retention TO lm_app"
    yield from define(FUNCTIONS, "retention")
    for table, columns in _READS.items():
        # To lock a row takes the right to change it, which the policy takes back.
        yield f"GRANT SELECT ({columns}), UPDATE (id) ON {table} TO lm_system"
    for table in _SWEPT:
        yield f"GRANT DELETE ON {table} TO lm_system"
    for (table, policy), rule in _policies().items():
        yield f"DROP POLICY IF EXISTS {policy} ON {table}"
        yield f"CREATE POLICY {policy} ON {table} {rule}"


def drop() -> Iterator[str]:
    """Yield what removes the functions, and what they were allowed."""
    yield from undefine(FUNCTIONS)
    yield "DROP SCHEMA IF EXISTS retention"
    for table, policy in _policies():
        yield f"DROP POLICY IF EXISTS {policy} ON {table}"
    for table in _SWEPT:
        yield f"REVOKE DELETE ON {table} FROM lm_system"
    for table, columns in _READS.items():
        yield f"REVOKE SELECT ({columns}), UPDATE (id) ON {table} FROM lm_system"


def _policies() -> dict[tuple[str, str], str]:
    all_rows, locks_only = "TO lm_system USING (true)", "TO lm_system USING (true) WITH CHECK (false)"
    return {
        ("sessions", "system_select"): f"FOR SELECT {all_rows}",
        **{(table, "system_lock"): f"FOR UPDATE {locks_only}" for table in _READS},
        **{(table, "system_delete"): f"FOR DELETE {all_rows}" for table in _SWEPT},
    }

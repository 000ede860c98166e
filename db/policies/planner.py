"""The planner's rules: its tables are their owner's alone; what crosses users goes through functions here.

Reminders are told by SQL alone, in one transaction: `planner.emit_due_reminders` turns those that are due
into notifications and says what it took them from, and `planner.schedule_reminders` keeps what the caller
computed of that, the next reminder of each event. The rows stay locked in between, so that no other worker
takes them, and one that dies in between has done nothing.
"""

from collections.abc import Iterator
from datetime import timedelta

from little_monster.db.policies import tenancy
from little_monster.db.policies.functions import define

TABLES = ("planner_events", "notifications", "calendar_feeds")

LATE = timedelta(minutes=5)
"""What began longer ago is not reminded of: nobody needs that, and a reminder takes less time on its way."""

FIND_FEED_OWNER = """
CREATE OR REPLACE FUNCTION planner.find_feed_owner(hash bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT f.user_id FROM public.calendar_feeds f WHERE f.token_hash = hash AND f.revoked_at IS NULL
    $$
"""

# The key of a notification is a UUIDv7 as the others are: the milliseconds since 1970 before 74 random bits.
# The `dedup_key` holds should two clocks disagree on what is due; two occurrences of one event may have
# reminders at the same moment.
EMIT_DUE_REMINDERS = f"""
CREATE OR REPLACE FUNCTION planner.emit_due_reminders(until timestamptz, max_events int)
    RETURNS TABLE (
        event_id uuid, due_at timestamptz, starts_at timestamptz, told boolean, start_date timestamptz,
        end_date timestamptz, time_zone text, all_day boolean, recurrence text, exdates timestamptz[],
        repeats_until timestamptz, reminder_minutes int[]
    )
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH due AS (
            SELECT e.id, e.user_id, e.title, e.location, e.type, e.start_date, e.end_date, e.time_zone,
                e.all_day, e.recurrence, e.exdates, e.repeats_until, e.reminder_minutes, e.next_reminder_at,
                e.next_reminder_for, e.next_reminder_for > until - interval '{LATE.seconds} seconds' AS told
            FROM public.planner_events e
            WHERE e.next_reminder_at <= until
            ORDER BY e.next_reminder_at, e.id
            LIMIT max_events
            FOR UPDATE SKIP LOCKED
        ), told AS (
            INSERT INTO public.notifications (id, user_id, kind, title, body, subject_id, data, dedup_key)
            SELECT
                encode(
                    set_bit(set_bit(overlay(
                        uuid_send(gen_random_uuid()) PLACING substring(
                            int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3
                        ) FROM 1 FOR 6
                    ), 52, 1), 53, 1),
                    'hex'
                )::uuid,
                due.user_id, 'reminder', due.title, due.location, due.id,
                jsonb_build_object(
                    'event_id', due.id, 'type', due.type, 'starts_at', due.next_reminder_for,
                    'time_zone', due.time_zone, 'all_day', due.all_day, 'due_at', due.next_reminder_at
                ),
                'reminder:' || due.id || ':' || extract(epoch FROM due.next_reminder_at)::bigint
                    || ':' || extract(epoch FROM due.next_reminder_for)::bigint
            FROM due WHERE due.told
            ON CONFLICT (user_id, dedup_key) DO NOTHING
        )
        UPDATE public.planner_events e SET next_reminder_at = NULL, next_reminder_for = NULL
        FROM due WHERE e.id = due.id
        RETURNING due.id, due.next_reminder_at, due.next_reminder_for, due.told, due.start_date, due.end_date,
            due.time_zone, due.all_day, due.recurrence, due.exdates, due.repeats_until, due.reminder_minutes
    $$
"""

SCHEDULE_REMINDERS = """
CREATE OR REPLACE FUNCTION planner.schedule_reminders(
    events uuid[], due_at timestamptz[], starts_at timestamptz[]
) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        UPDATE public.planner_events e
        SET next_reminder_at = given.due_at, next_reminder_for = given.starts_at
        FROM unnest(events, due_at, starts_at) AS given (id, due_at, starts_at)
        WHERE e.id = given.id AND e.next_reminder_at IS NULL
    $$
"""

FUNCTIONS = {
    "planner.find_feed_owner(bytea)": FIND_FEED_OWNER,
    "planner.emit_due_reminders(timestamptz, int)": EMIT_DUE_REMINDERS,
    "planner.schedule_reminders(uuid[], timestamptz[], timestamptz[])": SCHEDULE_REMINDERS,
}

_RIGHTS = (
    "GRANT SELECT (user_id, token_hash, revoked_at) ON calendar_feeds TO lm_system",
    "GRANT SELECT (id, user_id, title, location, type, start_date, end_date, time_zone, all_day, recurrence,"
    " exdates, repeats_until, reminder_minutes, next_reminder_at, next_reminder_for) ON planner_events"
    " TO lm_system",
    "GRANT UPDATE (next_reminder_at, next_reminder_for) ON planner_events TO lm_system",
    "GRANT INSERT (id, user_id, kind, title, body, subject_id, data, dedup_key) ON notifications"
    " TO lm_system",
    # ON CONFLICT reads the columns that it names.
    "GRANT SELECT (user_id, dedup_key) ON notifications TO lm_system",
)

_SEES = {
    "calendar_feeds": ("SELECT",),
    "planner_events": ("SELECT", "UPDATE"),
    "notifications": ("SELECT", "INSERT"),
}

# The trigger leaves `updated_at` alone when only a reminder went out: the event that its owner sees, and the
# ETag that it has, are the same as before.
_TOUCHING = (
    "title",
    "description",
    "location",
    "subject",
    "type",
    "start_date",
    "end_date",
    "time_zone",
    "all_day",
    "is_completed",
    "recurrence",
    "exdates",
    "reminder_minutes",
    "uid",
    "sequence",
)


def create() -> Iterator[str]:
    """Yield what makes policies, functions and triggers."""
    for table in TABLES:
        yield from tenancy.protect(table)
    yield from _functions()
    yield from _RIGHTS
    for table, commands in _SEES.items():
        for command in commands:
            yield from _see(table, command)
    yield (
        f"CREATE OR REPLACE TRIGGER touch_updated_at BEFORE UPDATE OF {', '.join(_TOUCHING)}"
        " ON planner_events FOR EACH ROW EXECUTE FUNCTION touch_updated_at()"
    )


def drop() -> Iterator[str]:
    """Yield what removes the functions and their schema; the rest goes with the tables."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"
    yield "DROP SCHEMA IF EXISTS planner"


def _functions() -> Iterator[str]:
    yield "CREATE SCHEMA IF NOT EXISTS planner"
    yield "GRANT USAGE ON SCHEMA planner TO lm_app"
    yield from define(FUNCTIONS, "planner")


def _see(table: str, command: str) -> Iterator[str]:
    name = f"system_{command.lower()}"
    rule = "WITH CHECK (true)" if command == "INSERT" else "USING (true)"
    yield f"DROP POLICY IF EXISTS {name} ON {table}"
    yield f"CREATE POLICY {name} ON {table} FOR {command} TO lm_system {rule}"

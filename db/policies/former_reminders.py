"""How reminders were told up to migration 0009: one for each moment, however late."""

from collections.abc import Iterator

from little_monster.db.policies.functions import define, undefine
from little_monster.db.policies.planner import EMIT_DUE_REMINDERS

_TELL_ALL = """
CREATE OR REPLACE FUNCTION planner.emit_due_reminders(until timestamptz, max_events int)
    RETURNS TABLE (
        event_id uuid, due_at timestamptz, start_date timestamptz, end_date timestamptz, time_zone text,
        all_day boolean, recurrence text, exdates timestamptz[], repeats_until timestamptz,
        reminder_minutes int[]
    )
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH due AS (
            SELECT e.id, e.user_id, e.title, e.location, e.type, e.start_date, e.end_date, e.time_zone,
                e.all_day, e.recurrence, e.exdates, e.repeats_until, e.reminder_minutes, e.next_reminder_at,
                e.next_reminder_for
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
            FROM due
            ON CONFLICT (user_id, dedup_key) DO NOTHING
        )
        UPDATE public.planner_events e SET next_reminder_at = NULL, next_reminder_for = NULL
        FROM due WHERE e.id = due.id
        RETURNING due.id, due.next_reminder_at, due.start_date, due.end_date, due.time_zone, due.all_day,
            due.recurrence, due.exdates, due.repeats_until, due.reminder_minutes
    $$
"""

_NAME = "planner.emit_due_reminders(timestamptz, int)"


def replace() -> Iterator[str]:
    """Yield what makes the function of today in the place of that one."""
    return _replaced(EMIT_DUE_REMINDERS)


def restore() -> Iterator[str]:
    """Yield what makes that one again."""
    return _replaced(_TELL_ALL)


def _replaced(statement: str) -> Iterator[str]:
    # What a function returns cannot be changed.
    yield from undefine({_NAME: statement})
    yield from define({_NAME: statement}, "planner")

"""What the database keeps true by itself: timestamps and counts.

Counting triggers run once a statement, over all its rows, as the user who runs it.
"""

from collections.abc import Iterator

STAMPED_TABLES = ("users", "user_documents", "chat_conversations", "chat_messages", "jobs")

FUNCTIONS = {
    "touch_updated_at": """
        BEGIN
            NEW.updated_at := pg_catalog.now();
            RETURN NEW;
        END
    """,
    "count_new_chunks": """
        BEGIN
            UPDATE public.user_documents d SET chunk_count = d.chunk_count + c.n
            FROM (SELECT document_id, count(*) AS n FROM changed GROUP BY document_id) c
            WHERE d.id = c.document_id;
            RETURN NULL;
        END
    """,
    "count_gone_chunks": """
        BEGIN
            UPDATE public.user_documents d SET chunk_count = d.chunk_count - c.n
            FROM (SELECT document_id, count(*) AS n FROM changed GROUP BY document_id) c
            WHERE d.id = c.document_id;
            RETURN NULL;
        END
    """,
    "count_new_messages": """
        BEGIN
            UPDATE public.chat_conversations v
            SET message_count = v.message_count + m.n, last_message_at = greatest(v.last_message_at, m.latest)
            FROM (
                SELECT conversation_id, count(*) AS n, max(created_at) AS latest
                FROM changed GROUP BY conversation_id
            ) m
            WHERE v.id = m.conversation_id;
            RETURN NULL;
        END
    """,
    "count_gone_messages": """
        BEGIN
            UPDATE public.chat_conversations v SET message_count = v.message_count - m.n
            FROM (SELECT conversation_id, count(*) AS n FROM changed GROUP BY conversation_id) m
            WHERE v.id = m.conversation_id;
            RETURN NULL;
        END
    """,
}

_COUNTERS = (
    ("document_chunks", "INSERT", "NEW", "count_new_chunks"),
    ("document_chunks", "DELETE", "OLD", "count_gone_chunks"),
    ("chat_messages", "INSERT", "NEW", "count_new_messages"),
    ("chat_messages", "DELETE", "OLD", "count_gone_messages"),
)


def create() -> Iterator[str]:
    """Yield what makes all trigger functions and triggers."""
    for name, body in FUNCTIONS.items():
        yield (
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = pg_catalog, pg_temp AS $${body}$$"
        )
    for table in STAMPED_TABLES:
        yield (
            f"CREATE OR REPLACE TRIGGER touch_updated_at BEFORE UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION touch_updated_at()"
        )
    for table, command, rows, function in _COUNTERS:
        # CREATE OR REPLACE keeps a trigger's transition table, so that dropping it first is the repeatable
        # way.
        yield f"DROP TRIGGER IF EXISTS {function} ON {table}"
        yield (
            f"CREATE TRIGGER {function} AFTER {command} ON {table} REFERENCING {rows} TABLE AS changed"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )


def drop_functions() -> Iterator[str]:
    """Yield what removes the trigger functions, whose tables are gone."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}()"

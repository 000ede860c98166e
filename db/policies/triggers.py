"""What the database keeps true by itself: timestamps and counts.

Counting triggers run once a statement, over all its rows, as the user who runs it. Passages have no foreign
key, as a document with very many would take as long to delete: they are deleted after it, some at a time.
That each is made in a document of its own user, and stays there, is seen to here.
"""

from collections.abc import Iterator

STAMPED_TABLES = ("users", "user_documents", "chat_conversations", "chat_messages", "jobs")

_KEY_OF_CHUNKS = "document_chunks_user_id_document_id_fkey"

FUNCTIONS = {
    "touch_updated_at": """
        BEGIN
            NEW.updated_at := pg_catalog.now();
            RETURN NEW;
        END
    """,
    "count_new_chunks": f"""
        DECLARE
            counted bigint;
        BEGIN
            UPDATE public.user_documents d SET chunk_count = d.chunk_count + c.n
            FROM (SELECT user_id, document_id, count(*) AS n FROM changed GROUP BY user_id, document_id) c
            WHERE d.id = c.document_id AND d.user_id = c.user_id;
            GET DIAGNOSTICS counted = ROW_COUNT;
            IF counted < (SELECT count(*) FROM (SELECT DISTINCT user_id, document_id FROM changed) c) THEN
                RAISE foreign_key_violation
                    USING MESSAGE = 'there is no such document', CONSTRAINT = '{_KEY_OF_CHUNKS}';
            END IF;
            RETURN NULL;
        END
    """,
    "keep_document": f"""
        BEGIN
            RAISE foreign_key_violation
                USING MESSAGE = 'a passage stays in its document', CONSTRAINT = '{_KEY_OF_CHUNKS}';
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
    yield (
        "CREATE OR REPLACE TRIGGER keep_document BEFORE UPDATE OF user_id, document_id ON document_chunks"
        " FOR EACH ROW WHEN ((OLD.user_id, OLD.document_id) IS DISTINCT FROM (NEW.user_id, NEW.document_id))"
        " EXECUTE FUNCTION keep_document()"
    )


def drop_functions() -> Iterator[str]:
    """Yield what removes the trigger functions, whose tables are gone."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}()"

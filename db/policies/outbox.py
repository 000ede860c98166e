"""What keeps the vector index and the file storage true to the database: triggers that note what has to be
changed there, in the transaction that makes it so, and what may be seen to compare the three.

No user reads the notes, nor writes any but by these triggers; a worker, whose session is nobody's, does. The
functions follow the rules of `definers.py`: they return ids and states, and nothing that a user wrote.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import allow, give_away, undefine

OUTBOX, COLLECTIONS = "index_outbox", "embedding_collections"
TABLES = (OUTBOX, COLLECTIONS)

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
_NOTE = f"""
CREATE OR REPLACE FUNCTION {{name}} RETURNS trigger LANGUAGE plpgsql {_DEFINER}
    AS $$
    BEGIN
        INSERT INTO public.index_outbox (kind, user_id, document_id, key)
        {{what}};
        RETURN NULL;
    END
    $$
"""

# An account that goes takes its documents with it, and is gone before they are: one note is enough then.
_GONE_DOCUMENTS = """SELECT 'delete_document', g.user_id, g.id, g.file_url FROM gone g
        WHERE EXISTS (SELECT FROM public.users u WHERE u.id = g.user_id)"""
_GONE_USERS = "SELECT 'delete_owner', g.id, NULL, NULL FROM gone g"
# Whoever has read a document wrote one collection of the index. Were the others looked for here, one that is
# just being made could be missed.
_CHANGED_DOCUMENTS = """SELECT 'check_document', c.user_id, c.id, NULL
        FROM changed c JOIN before b ON b.id = c.id
        WHERE c.embedding_status = 'completed' AND b.embedding_status <> 'completed'
        UNION ALL
        SELECT 'set_payload', c.user_id, c.id, NULL
        FROM changed c JOIN before b ON b.id = c.id
        WHERE c.subject IS DISTINCT FROM b.subject AND c.embedding_status = 'completed'"""

_NOTES = {
    "library.note_gone_documents()": _GONE_DOCUMENTS,
    "library.note_gone_users()": _GONE_USERS,
    "library.note_changed_documents()": _CHANGED_DOCUMENTS,
}
_TRIGGERS = {
    "note_gone_documents": "AFTER DELETE ON user_documents REFERENCING OLD TABLE AS gone",
    "note_gone_users": "AFTER DELETE ON users REFERENCING OLD TABLE AS gone",
    "note_changed_documents": (
        "AFTER UPDATE ON user_documents REFERENCING OLD TABLE AS before NEW TABLE AS changed"
    ),
}

_LOOK = f"""
CREATE OR REPLACE FUNCTION {{name}} RETURNS {{columns}}
    LANGUAGE plpgsql STABLE {_DEFINER}
    AS $$
    #variable_conflict use_column
    BEGIN
        IF auth.uid() IS NOT NULL THEN
            RAISE insufficient_privilege USING MESSAGE = 'only a worker looks at what all users have';
        END IF;
        RETURN QUERY {{query}};
    END
    $$
"""
_AFTER = "(after IS NULL OR {column} > after)"
_SCAN_CHUNKS = f"""
        SELECT c.id, c.user_id, c.document_id, d.embedding_status
        FROM public.document_chunks c JOIN public.user_documents d ON d.id = c.document_id
        WHERE {_AFTER.format(column="c.id")} ORDER BY c.id LIMIT max_rows"""
_SCAN_DOCUMENTS = f"""
        SELECT d.id, d.user_id, d.embedding_status, d.file_url, d.chunk_count FROM public.user_documents d
        WHERE {_AFTER.format(column="d.id")} ORDER BY d.id LIMIT max_rows"""
_STATES = """
        SELECT d.id, d.embedding_status FROM public.user_documents d WHERE d.id = ANY (documents)"""
_KNOWN = """
        SELECT d.id FROM public.user_documents d WHERE d.id = ANY (ids)
        UNION ALL SELECT j.id FROM public.jobs j WHERE j.id = ANY (ids)"""
_TOTALS = """
        SELECT count(*), coalesce(sum(d.chunk_count), 0)::bigint, coalesce(
            (SELECT max(c.token_count) FROM public.document_chunks c), 0
        )::bigint
        FROM public.user_documents d WHERE d.embedding_status = 'completed'"""
_CHUNK = "TABLE (id uuid, user_id uuid, document_id uuid, status public.embedding_status)"
_DOCUMENT = "TABLE (id uuid, user_id uuid, status public.embedding_status, file_url text, chunk_count bigint)"
_LOOKS = {
    "library.scan_chunks(after uuid, max_rows int)": (_CHUNK, _SCAN_CHUNKS),
    "library.scan_documents(after uuid, max_rows int)": (_DOCUMENT, _SCAN_DOCUMENTS),
    "library.states(documents uuid[])": ("TABLE (id uuid, status public.embedding_status)", _STATES),
    "library.known(ids uuid[])": ("SETOF uuid", _KNOWN),
    "library.totals()": ("TABLE (documents bigint, chunks bigint, longest bigint)", _TOTALS),
}


def _signature(name: str) -> str:
    """Return a function's name with the types of its arguments alone."""
    head, _, rest = name.partition("(")
    types = [argument.split()[-1] for argument in rest.rstrip(")").split(", ") if argument]
    return f"{head}({', '.join(types)})"


FUNCTIONS = {
    **{name: _NOTE.format(name=name, what=what) for name, what in _NOTES.items()},
    **{
        _signature(name): _LOOK.format(name=name, columns=columns, query=query)
        for name, (columns, query) in _LOOKS.items()
    },
}

_RIGHTS = {
    "INSERT (kind, user_id, document_id, key)": OUTBOX,
    "SELECT (file_url, chunk_count)": "user_documents",
    "SELECT (id, user_id, document_id, token_count)": "document_chunks",
}
_NOBODY = "(SELECT auth.uid()) IS NULL"
_POLICIES = {
    (OUTBOX, "worker"): f"TO lm_app USING ({_NOBODY}) WITH CHECK ({_NOBODY})",
    (OUTBOX, "system_insert"): "FOR INSERT TO lm_system WITH CHECK (true)",
    (COLLECTIONS, "worker"): f"TO lm_app USING ({_NOBODY}) WITH CHECK ({_NOBODY})",
    ("document_chunks", "system_select"): "FOR SELECT TO lm_system USING (true)",
}


def create() -> Iterator[str]:
    """Yield what protects the tables, and makes the functions and triggers."""
    for table in TABLES:
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
        yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO lm_app"
    yield from FUNCTIONS.values()
    # Before the functions are given away: only who may call one can make a trigger of it.
    for name, when in _TRIGGERS.items():
        table = when.split(" ON ")[1].split()[0]
        yield f"DROP TRIGGER IF EXISTS {name} ON {table}"
        yield f"CREATE TRIGGER {name} {when} FOR EACH STATEMENT EXECUTE FUNCTION library.{name}()"
    yield from give_away(FUNCTIONS, "library")
    yield from allow(_RIGHTS, _POLICIES)


def drop() -> Iterator[str]:
    """Yield what removes the triggers and functions, and what they were allowed of others; the tables'
    policies go with them."""
    for name, when in _TRIGGERS.items():
        yield f"DROP TRIGGER IF EXISTS {name} ON {when.split(' ON ')[1].split()[0]}"
    yield from undefine(FUNCTIONS)
    yield "DROP POLICY IF EXISTS system_select ON document_chunks"
    yield "REVOKE SELECT (file_url, chunk_count) ON user_documents FROM lm_system"
    yield "REVOKE SELECT (id, user_id, document_id, token_count) ON document_chunks FROM lm_system"

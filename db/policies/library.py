"""The search of one's own documents by their titles.

Full-text search is not leakproof, so that under row level security it could use no index. The function
follows the rules of `definers.py`: it returns ids of the user's own documents, and nothing else.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import define, undefine

# ROWS lets the planner look each of them up, as a search is to find few.
FIND_DOCUMENTS = """
CREATE OR REPLACE FUNCTION library.find_documents(words text) RETURNS TABLE (id uuid, rank float8)
    LANGUAGE plpgsql STABLE ROWS 20 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    DECLARE
        reader uuid := auth.uid();
        query tsquery := websearch_to_tsquery('english', words);
    BEGIN
        RETURN QUERY
        SELECT d.id, ts_rank(to_tsvector('english', d.title), query)::float8 FROM public.user_documents d
        WHERE d.user_id = reader AND to_tsvector('english', d.title) @@ query;
    END
    $$
"""

FUNCTIONS = {"library.find_documents(text)": FIND_DOCUMENTS}


def create() -> Iterator[str]:
    """Yield what makes the function, and what it may read."""
    yield "CREATE SCHEMA IF NOT EXISTS library"
    yield "GRANT USAGE ON SCHEMA library TO lm_app"
    yield "GRANT SELECT (title) ON user_documents TO lm_system"
    yield from define(FUNCTIONS, "library")


def drop() -> Iterator[str]:
    """Yield what removes them."""
    yield from undefine(FUNCTIONS)
    yield "DROP SCHEMA IF EXISTS library"
    yield "REVOKE SELECT (title) ON user_documents FROM lm_system"

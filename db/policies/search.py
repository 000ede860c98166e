"""The search of videos: words, tags and filters, in any order of the feed.

Neither full-text search nor the search of arrays nor the equality of enums is leakproof, so that under row
level security no index finds them: the policy would have to look at every row first. This function sees past
the policy, and says the same in its own condition; it returns ids, whose rows the policy shows again.
"""

from collections.abc import Iterator

from little_monster.db.policies import content
from little_monster.db.policies.functions import give_away

RANKED = 1_000
"""How many videos `relevance` puts in order: the newest of those that are found. A word that is in every
title would else rank the whole table for each page."""

_NAME = (
    "content.search_videos(text, text[], public.video_status, uuid, public.subject, public.difficulty,"
    " text, timestamptz, numeric, uuid, timestamptz, int)"
)

# Each is planned with the values at hand: `IS NULL OR` is gone by then, and what the statistics say of the
# words decides between the index of words and the one of the order.
_FOUND = """
    FROM public.videos v
    WHERE ($1 IS NULL OR v.search @@ $1) AND ($2 IS NULL OR v.tags @> $2)
        AND ($3 IS NULL OR v.status = $3) AND ($4 IS NULL OR v.created_by = $4)
        AND ($5 IS NULL OR v.subject = $5) AND ($6 IS NULL OR v.difficulty = $6)
        AND ($7 OR $3 = 'public' OR v.status = 'public' OR v.created_by = $8)
"""
_BY_COLUMN = """
    SELECT v.id, 0::float8, NULL::timestamptz {found}
        AND ($11 IS NULL OR (v.{column}, v.id) < ({seen}, $11))
    ORDER BY v.{column} DESC, v.id DESC LIMIT $13
"""
_BY_RANK = f"""
    SELECT r.id, r.rank, r.newest
    FROM (
        SELECT c.id, ts_rank(c.search, $1)::float8 AS rank, max(c.created_at) OVER () AS newest
        FROM (
            SELECT v.id, v.search, v.created_at {_FOUND}
                AND ($12 IS NULL OR v.created_at <= $12)
            ORDER BY v.created_at DESC, v.id DESC LIMIT {RANKED}
        ) c
    ) r
    WHERE $11 IS NULL OR (r.rank, r.id) < ($10::float8, $11)
    ORDER BY r.rank DESC, r.id DESC LIMIT $13
"""


def _by(column: str, seen: str) -> str:
    return _BY_COLUMN.format(found=_FOUND, column=column, seen=seen)


SEARCH_VIDEOS = f"""
CREATE OR REPLACE FUNCTION content.search_videos(
        words text, labels text[], wanted public.video_status, creator uuid, about public.subject,
        level public.difficulty, ordering text, seen_at timestamptz, seen_number numeric, seen_id uuid,
        as_of timestamptz, most int
    ) RETURNS TABLE (id uuid, rank float8, newest timestamptz)
    LANGUAGE plpgsql STABLE ROWS 20 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        RETURN QUERY EXECUTE
            CASE ordering
                WHEN 'relevance' THEN $by${_BY_RANK}$by$
                WHEN 'newest' THEN $by${_by("created_at", "$9")}$by$
                WHEN 'top_rated' THEN $by${_by("rating_avg", "$10")}$by$
                WHEN 'most_viewed' THEN $by${_by("view_count", "$10::bigint")}$by$
            END
            USING websearch_to_tsquery('english', words), labels, wanted, creator, about, level,
                auth.has_role('moderator'), auth.uid(), seen_at, seen_number, seen_id, as_of, most;
    END
    $function$
"""

FUNCTIONS = {_NAME: SEARCH_VIDEOS}
"""All functions of this file that see more than the user's own rows; lm_system owns them."""


def create() -> Iterator[str]:
    """Yield what makes the function, in the place of the one that it replaces."""
    for name in content.RETIRED:
        yield f"DROP FUNCTION IF EXISTS {name}"
    yield "GRANT SELECT (search, subject, difficulty, created_at) ON videos TO lm_system"
    yield from FUNCTIONS.values()
    yield from give_away(FUNCTIONS, "content")


def drop() -> Iterator[str]:
    """Yield what puts the earlier function back."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION {name}"
    yield "REVOKE SELECT (subject, difficulty, created_at) ON videos FROM lm_system"
    yield from content.RETIRED.values()
    yield from give_away(content.RETIRED, "content")

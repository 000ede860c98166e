"""The community's tables: who sees and changes videos, comments and ratings, and what keeps their counts.

Here several users meet in one row: a rating changes a video that is somebody else's. What that takes runs as
lm_system and is listed in `FUNCTIONS`; everything else is bound by the policies, moderators too.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import give_away

TABLES = ("videos", "comments", "ratings")

_UID = "(SELECT auth.uid())"
_MODERATOR = "(SELECT auth.has_role('moderator'))"
_SEES_VIDEO = "EXISTS (SELECT FROM videos v WHERE v.id = video_id)"

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

# Roles are ordered as their enum is: an admin is a moderator too.
HAS_ROLE = f"""
CREATE OR REPLACE FUNCTION auth.has_role(minimum text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE {_DEFINER}
    AS $$
        SELECT coalesce(
            (SELECT u.role >= minimum::public.user_role FROM public.users u WHERE u.id = auth.uid()), false
        )
    $$
"""

# Neither full-text search nor the search of arrays is leakproof, so that under row level security they could
# use no index. This returns only ids that the policy of videos shows to the user. ROWS lets the planner look
# each of them up, as a search is to find few.
FIND_VIDEOS = f"""
CREATE OR REPLACE FUNCTION content.find_videos(words text, labels text[], ranked boolean)
    RETURNS TABLE (id uuid, rank float8) LANGUAGE plpgsql STABLE ROWS 20 {_DEFINER}
    AS $$
    #variable_conflict use_column
    DECLARE
        viewer uuid := auth.uid();
        moderates boolean := auth.has_role('moderator');
        query tsquery := pg_catalog.websearch_to_tsquery('english', words);
    BEGIN
        IF words IS NULL THEN
            RETURN QUERY
            SELECT v.id, 0::float8 FROM public.videos v
            WHERE v.tags @> labels AND (v.status = 'public' OR v.created_by = viewer OR moderates);
        ELSE
            RETURN QUERY
            SELECT v.id,
                CASE WHEN ranked
                    THEN ts_rank(to_tsvector('english', v.title || ' ' || v.topic), query)::float8
                    ELSE 0
                END
            FROM public.videos v
            WHERE to_tsvector('english', v.title || ' ' || v.topic) @@ query
                AND (v.status = 'public' OR v.created_by = viewer OR moderates)
                AND (labels IS NULL OR v.tags @> labels);
        END IF;
    END
    $$
"""

# Who rated is nobody's business; how many gave how many stars is everybody's who sees the video.
COUNT_STARS = f"""
CREATE OR REPLACE FUNCTION content.count_stars(video uuid) RETURNS TABLE (stars bigint, count bigint)
    LANGUAGE sql STABLE {_DEFINER}
    AS $$
        SELECT r.stars, count(*) FROM public.ratings r
        WHERE r.video_id = video AND EXISTS (
            SELECT FROM public.videos v
            WHERE v.id = video
                AND (v.status = 'public' OR v.created_by = auth.uid() OR auth.has_role('moderator'))
        )
        GROUP BY r.stars
    $$
"""

# Rows are locked in one order, so that two batches do not wait for each other.
ADD_VIEWS = f"""
CREATE OR REPLACE FUNCTION content.add_views(counts jsonb) RETURNS bigint LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    DECLARE
        changed bigint;
    BEGIN
        PERFORM FROM public.videos v
        WHERE v.id IN (SELECT c.key::uuid FROM jsonb_each_text(counts) c)
        ORDER BY v.id FOR NO KEY UPDATE;
        UPDATE public.videos v SET view_count = v.view_count + c.value::bigint
        FROM jsonb_each_text(counts) c
        WHERE v.id = c.key::uuid;
        GET DIAGNOSTICS changed = ROW_COUNT;
        RETURN changed;
    END
    $$
"""

# The author's own comment, and only while it waits, and only the text that was judged: an edit that came
# meanwhile waits for a verdict of its own.
JUDGE_COMMENT = f"""
CREATE OR REPLACE FUNCTION content.judge_comment(
        comment uuid, judged text, verdict public.moderation_status, reason text
    ) RETURNS boolean LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    BEGIN
        UPDATE public.comments c SET moderation_status = verdict, moderation_reason = reason
        WHERE c.id = comment AND c.user_id = auth.uid() AND c.text = judged
            AND c.moderation_status = 'pending';
        RETURN FOUND;
    END
    $$
"""

# The sum of the stars is the average times the count, exactly, once rounded: a rating costs the same however
# many there are, and the average is the one that a recount gives.
_COUNT_RATINGS = """
    UPDATE public.videos v
    SET rating_count = v.rating_count + d.n,
        rating_avg = CASE
            WHEN v.rating_count + d.n = 0 THEN 0
            ELSE (round(v.rating_avg * v.rating_count) + d.stars) / (v.rating_count + d.n)
        END
    FROM (SELECT r.video_id, sum(r.n) AS n, sum(r.stars) AS stars FROM ({changes}) r GROUP BY r.video_id) d
    WHERE v.id = d.video_id AND (d.n <> 0 OR d.stars <> 0);
"""
_RATINGS = "SELECT video_id, {sign}1 AS n, {sign}stars AS stars FROM {rows}"

_COUNT_COMMENTS = """
    UPDATE public.videos v SET comment_count = v.comment_count + d.n
    FROM (SELECT c.video_id, sum(c.n) AS n FROM ({changes}) c GROUP BY c.video_id) d
    WHERE v.id = d.video_id AND d.n <> 0;
"""
_COMMENTS = "SELECT video_id, {sign}(NOT is_hidden AND moderation_status = 'approved')::int AS n FROM {rows}"

# The writer of a comment or rating does not own the video that it counts for.
_COUNTER = """
CREATE OR REPLACE FUNCTION {name} RETURNS trigger LANGUAGE plpgsql {definer}
    AS $$
    BEGIN
        PERFORM FROM public.videos v WHERE v.id IN (SELECT c.video_id FROM changed c)
        ORDER BY v.id FOR NO KEY UPDATE;
        {count}
        RETURN NULL;
    END
    $$
"""


def _counters(table: str, count: str, rows: str) -> dict[str, str]:
    """Return a counting function for each command, as each has its own tables of changed rows."""
    new, gone = rows.format(sign="", rows="changed"), rows.format(sign="-", rows="changed")
    changes = {
        "insert": new,
        "update": f"{new} UNION ALL {rows.format(sign='-', rows='before')}",
        "delete": gone,
    }
    names = {f"content.count_{table}_on_{command}()": command for command in changes}
    return {
        name: _COUNTER.format(name=name, definer=_DEFINER, count=count.format(changes=changes[command]))
        for name, command in names.items()
    }


FUNCTIONS = {
    "auth.has_role(text)": HAS_ROLE,
    "content.count_stars(uuid)": COUNT_STARS,
    "content.add_views(jsonb)": ADD_VIEWS,
    "content.judge_comment(uuid, text, public.moderation_status, text)": JUDGE_COMMENT,
    **_counters("ratings", _COUNT_RATINGS, _RATINGS),
    **_counters("comments", _COUNT_COMMENTS, _COMMENTS),
}
"""All functions of this file that see more than the user's own rows; lm_system owns them."""

RETIRED = {"content.find_videos(text, text[], boolean)": FIND_VIDEOS}
"""Such functions that a later migration replaces: `search.py` has the one that stands for this."""

# As the user who inserts, who must see the video.
PLACE_COMMENT = """
CREATE OR REPLACE FUNCTION content.place_comment() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF NEW.video_created_by IS NULL OR NEW.video_status IS NULL THEN
            SELECT v.created_by, v.status INTO NEW.video_created_by, NEW.video_status
            FROM public.videos v WHERE v.id = NEW.video_id;
            IF NOT FOUND THEN
                RAISE insufficient_privilege
                    USING MESSAGE = 'row-level security hides the video of this comment';
            END IF;
        END IF;
        RETURN NEW;
    END
    $$
"""

# Policies see rows and grants see roles, but authors and moderators share both: what each may change in a row
# is decided here. lm_system writes the verdict of moderation, and without a user the policies let nobody but
# the tables' owner through.
GUARD_COMMENT = """
CREATE OR REPLACE FUNCTION content.guard_comment() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF current_user = 'lm_system' OR auth.uid() IS NULL THEN
            RETURN NEW;
        END IF;
        IF (NEW.is_hidden, NEW.moderation_status, NEW.moderation_reason)
            IS DISTINCT FROM (OLD.is_hidden, OLD.moderation_status, OLD.moderation_reason) THEN
            -- A statement of its own: the tables' owner, as whom foreign keys cascade, may not even name it.
            IF NOT auth.has_role('moderator') THEN
                RAISE insufficient_privilege
                    USING MESSAGE = 'only a moderator changes how a comment is moderated';
            END IF;
        END IF;
        IF NEW.text IS DISTINCT FROM OLD.text THEN
            IF OLD.user_id IS DISTINCT FROM auth.uid() THEN
                RAISE insufficient_privilege USING MESSAGE = 'only its author changes the text of a comment';
            END IF;
            NEW.moderation_status := 'pending';
            NEW.moderation_reason := NULL;
        END IF;
        RETURN NEW;
    END
    $$
"""

_VIDEO_COLUMNS = (
    "title, subject, difficulty, topic, status, script_summary, key_points, timestamps, video_url,"
    " thumbnail_url, duration, tags"
)

# Counts, and what moderation decides, are not among what a service may write.
_GRANTS = (
    f"GRANT SELECT, INSERT (id, created_by, {_VIDEO_COLUMNS}), DELETE ON videos TO lm_app",
    f"GRANT UPDATE ({_VIDEO_COLUMNS}) ON videos TO lm_app",
    "GRANT SELECT, INSERT (id, video_id, user_id, text), DELETE ON comments TO lm_app",
    "GRANT UPDATE (text, is_hidden, moderation_status, moderation_reason) ON comments TO lm_app",
    "GRANT SELECT, INSERT (id, video_id, user_id, stars), UPDATE (stars), DELETE ON ratings TO lm_app",
    "GRANT SELECT (id, title, topic, tags, status, created_by, rating_avg, rating_count, view_count,"
    " comment_count) ON videos TO lm_system",
    "GRANT UPDATE (rating_avg, rating_count, view_count, comment_count) ON videos TO lm_system",
    "GRANT SELECT (id, user_id, text, moderation_status) ON comments TO lm_system",
    "GRANT UPDATE (moderation_status, moderation_reason) ON comments TO lm_system",
    "GRANT SELECT (video_id, stars) ON ratings TO lm_system",
)

_SEES = {"videos": ("SELECT", "UPDATE"), "comments": ("SELECT", "UPDATE"), "ratings": ("SELECT",)}

_OWN_VIDEO = f"created_by = {_UID}"
_OWN = f"user_id = {_UID}"
_SEEN_BY_OTHERS = (
    "NOT is_hidden AND moderation_status = 'approved'"
    f" AND (video_status = 'public' OR video_created_by = {_UID})"
)

_RULES = {
    ("videos", "SELECT"): f"USING (status = 'public' OR {_OWN_VIDEO} OR {_MODERATOR})",
    ("videos", "INSERT"): f"WITH CHECK ({_OWN_VIDEO})",
    ("videos", "UPDATE"): f"USING ({_OWN_VIDEO} OR {_MODERATOR})",
    ("videos", "DELETE"): f"USING ({_OWN_VIDEO} OR {_MODERATOR})",
    # One's own stay in sight whatever becomes of the video, so that they can be deleted and exported.
    ("comments", "SELECT"): f"USING (({_SEEN_BY_OTHERS}) OR {_OWN} OR {_MODERATOR})",
    ("comments", "INSERT"): (
        f"WITH CHECK ({_OWN} AND NOT is_hidden AND moderation_status = 'pending'"
        f" AND moderation_reason IS NULL AND {_SEES_VIDEO})"
    ),
    ("comments", "UPDATE"): f"USING ({_OWN} OR {_MODERATOR})",
    ("comments", "DELETE"): f"USING ({_OWN} OR {_MODERATOR})",
    ("ratings", "SELECT"): f"USING ({_OWN})",
    ("ratings", "INSERT"): f"WITH CHECK ({_OWN} AND {_SEES_VIDEO})",
    ("ratings", "UPDATE"): f"USING ({_OWN} AND {_SEES_VIDEO})",
    ("ratings", "DELETE"): f"USING ({_OWN} AND {_SEES_VIDEO})",
}

_TOUCHED = {
    "videos": f"UPDATE OF {_VIDEO_COLUMNS}",
    "comments": "UPDATE OF text, is_hidden, moderation_status, moderation_reason",
    "ratings": "UPDATE OF stars",
}

_CHANGED_ROWS = {
    "insert": "NEW TABLE AS changed",
    "update": "OLD TABLE AS before NEW TABLE AS changed",
    "delete": "OLD TABLE AS changed",
}


def create() -> Iterator[str]:
    """Yield what protects the tables, and makes their functions and triggers."""
    yield "CREATE SCHEMA IF NOT EXISTS content"
    yield "GRANT USAGE ON SCHEMA content TO lm_app"
    yield "GRANT EXECUTE ON FUNCTION auth.uid() TO lm_system"
    functions = {**FUNCTIONS, **RETIRED}
    yield from functions.values()
    # Before the functions are given away: only who may call a function can make a trigger of it.
    yield from _triggers()
    yield from give_away(functions, "auth, content")
    for table in TABLES:
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield from _GRANTS
    for (table, command), rule in _RULES.items():
        yield from _policy(table, f"community_{command.lower()}", command, "lm_app", rule)
    for table, commands in _SEES.items():
        for command in commands:
            yield from _policy(table, f"system_{command.lower()}", command, "lm_system", "USING (true)")


def drop() -> Iterator[str]:
    """Yield what removes the functions, whose tables are gone."""
    for name in {**FUNCTIONS, **RETIRED}:
        yield f"DROP FUNCTION {name}"
    yield "DROP FUNCTION content.place_comment()"
    yield "DROP FUNCTION content.guard_comment()"
    yield "DROP SCHEMA content"
    yield "REVOKE EXECUTE ON FUNCTION auth.uid() FROM lm_system"


def _policy(table: str, name: str, command: str, role: str, rule: str) -> Iterator[str]:
    yield f"DROP POLICY IF EXISTS {name} ON {table}"
    yield f"CREATE POLICY {name} ON {table} FOR {command} TO {role} {rule}"


def _triggers() -> Iterator[str]:
    yield PLACE_COMMENT
    yield GUARD_COMMENT
    yield _row_trigger("place_comment", "INSERT", "comments", "content.place_comment()")
    yield _row_trigger("guard_comment", "UPDATE", "comments", "content.guard_comment()")
    for table, change in _TOUCHED.items():
        yield _row_trigger("touch_updated_at", change, table, "touch_updated_at()")
    for table in ("ratings", "comments"):
        for command, rows in _CHANGED_ROWS.items():
            name = f"count_{table}_on_{command}"
            # CREATE OR REPLACE keeps a trigger's transition tables, so that dropping it first is the
            # repeatable way.
            yield f"DROP TRIGGER IF EXISTS {name} ON {table}"
            yield (
                f"CREATE TRIGGER {name} AFTER {command.upper()} ON {table} REFERENCING {rows}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION content.{name}()"
            )


def _row_trigger(name: str, change: str, table: str, function: str) -> str:
    return (
        f"CREATE OR REPLACE TRIGGER {name} BEFORE {change} ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION {function}"
    )

"""How a video becomes public: its creator asks, moderation says yes, and only then others see it.

Services write texts and statuses; what that means for the verdict, triggers say. A verdict is written by the
functions here, which follow the rules of `definers.py`. A check of the table has the last word: what is
public is approved.

A moderator's no outlasts an edit: what is pending with a reason waits for a person, and not for automatic
moderation.
"""

from collections.abc import Iterator

from little_monster.db.policies.functions import allow, define, undefine

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
_ASKED = "IN ('pending', 'flagged')"

# The creator, or a moderator who edited it. `seen` is when the text that was judged was written: a later one
# waits for a verdict of its own.
JUDGE_VIDEO = f"""
CREATE OR REPLACE FUNCTION content.judge_video(
        video uuid, seen timestamptz, verdict public.moderation_status, reason text
    ) RETURNS boolean LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    BEGIN
        UPDATE public.videos v SET moderation_status = verdict, moderation_reason = reason,
            status = CASE WHEN verdict = 'approved' THEN 'public' ELSE v.status END
        WHERE v.id = video AND v.updated_at = seen
            AND v.moderation_status = 'pending' AND v.moderation_reason IS NULL
            AND (v.created_by = auth.uid() OR auth.has_role('moderator'));
        RETURN FOUND;
    END
    $$
"""

# What nobody asks for does not become public by an approval, which then only says that it may.
MODERATE_VIDEO = f"""
CREATE OR REPLACE FUNCTION content.moderate_video(
        video uuid, verdict public.moderation_status, reason text
    ) RETURNS boolean LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    BEGIN
        UPDATE public.videos v SET moderation_status = verdict, moderation_reason = reason,
            status = CASE
                WHEN verdict = 'approved' AND v.moderation_status {_ASKED} THEN 'public'
                WHEN verdict <> 'approved' AND v.status = 'public' THEN 'private'
                ELSE v.status
            END
        WHERE v.id = video AND auth.has_role('moderator');
        RETURN FOUND;
    END
    $$
"""

# Whose they are, and no more: what they say is read as their owners.
_FIND_PENDING = """
CREATE OR REPLACE FUNCTION {name}(max_rows int, seen_at timestamptz, seen_id uuid)
    RETURNS TABLE (id uuid, owner uuid, created_at timestamptz) LANGUAGE sql STABLE {definer}
    AS $$
        SELECT t.id, t.{owner}, t.created_at FROM public.{table} t
        WHERE t.moderation_status = 'pending' AND t.moderation_reason IS NULL
            AND (t.created_at, t.id) > (
                coalesce(seen_at, '-infinity'), coalesce(seen_id, '00000000-0000-0000-0000-000000000000')
            )
        ORDER BY t.created_at, t.id LIMIT max_rows
    $$
"""


def _find_pending(table: str, owner: str) -> str:
    name = f"content.find_pending_{table}"
    return _FIND_PENDING.format(name=name, definer=_DEFINER, table=table, owner=owner)


FUNCTIONS = {
    "content.judge_video(uuid, timestamptz, public.moderation_status, text)": JUDGE_VIDEO,
    "content.moderate_video(uuid, public.moderation_status, text)": MODERATE_VIDEO,
    "content.find_pending_comments(int, timestamptz, uuid)": _find_pending("comments", "user_id"),
    "content.find_pending_videos(int, timestamptz, uuid)": _find_pending("videos", "created_by"),
}

# Fires for a status that is written, also when it is the one that the video has: who says `private` of a
# private video that waits no longer asks.
_WITHDRAW = f"""
CREATE OR REPLACE FUNCTION content.withdraw_video() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF NEW.status <> 'public' AND OLD.moderation_status {_ASKED} AND current_user <> 'lm_system' THEN
            NEW.moderation_status := NULL;
            NEW.moderation_reason := CASE OLD.moderation_status WHEN 'pending' THEN OLD.moderation_reason END;
        END IF;
        RETURN NEW;
    END
    $$
"""

# A text without a verdict that is to be public waits for one out of sight.
_GUARD = f"""
CREATE OR REPLACE FUNCTION content.guard_video() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        asks boolean := NEW.status = 'public' OR coalesce(NEW.moderation_status {_ASKED}, false);
    BEGIN
        IF current_user = 'lm_system' OR auth.uid() IS NULL THEN
            RETURN NEW;
        END IF;
        IF (NEW.title, NEW.topic, NEW.tags, NEW.script_summary, NEW.key_points)
            IS DISTINCT FROM (OLD.title, OLD.topic, OLD.tags, OLD.script_summary, OLD.key_points) THEN
            NEW.moderation_status := NULL;
            NEW.moderation_reason := CASE
                WHEN OLD.moderation_status = 'rejected' THEN 'A moderator rejected it before this edit.'
                WHEN coalesce(OLD.moderation_status, 'pending') = 'pending' THEN OLD.moderation_reason
            END;
        END IF;
        IF asks AND NEW.moderation_status IS NULL THEN
            NEW.moderation_status := 'pending';
        END IF;
        IF NEW.status = 'public' AND NEW.moderation_status <> 'approved' THEN
            NEW.status := CASE OLD.status WHEN 'public' THEN 'private' ELSE OLD.status END;
        END IF;
        RETURN NEW;
    END
    $$
"""

# By their names they run in this order, before `touch_updated_at`.
_TRIGGERS = {
    "ask_or_withdraw": ("UPDATE OF status", "content.withdraw_video()"),
    "guard_video": ("UPDATE", "content.guard_video()"),
    "touch_moderated": ("UPDATE OF moderation_status, moderation_reason", "touch_updated_at()"),
}

_RIGHTS = {
    "SELECT (moderation_status, moderation_reason, created_at, updated_at)": "videos",
    "UPDATE (status, moderation_status, moderation_reason)": "videos",
    "SELECT (moderation_reason, created_at)": "comments",
}


def create() -> Iterator[str]:
    """Yield what makes the functions and the triggers, and gives what they need."""
    yield from define(FUNCTIONS, "content")
    yield from allow(_RIGHTS, {})
    yield _WITHDRAW
    yield _GUARD
    for name, (change, function) in _TRIGGERS.items():
        yield (
            f"CREATE OR REPLACE TRIGGER {name} BEFORE {change} ON videos"
            f" FOR EACH ROW EXECUTE FUNCTION {function}"
        )


def drop() -> Iterator[str]:
    """Yield what removes them."""
    for name in _TRIGGERS:
        yield f"DROP TRIGGER IF EXISTS {name} ON videos"
    yield from undefine({"content.withdraw_video()": _WITHDRAW, "content.guard_video()": _GUARD, **FUNCTIONS})
    for right, table in _RIGHTS.items():
        yield f"REVOKE {right} ON {table} FROM lm_system"

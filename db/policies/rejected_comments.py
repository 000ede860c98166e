"""What becomes of a comment that a moderator rejected when its author edits it: it waits for a moderator.

A comment that is pending with a reason waits for a person, one without a reason for automatic moderation,
whose verdict on the first kind is not written.
"""

from collections.abc import Iterator

from little_monster.db.policies import content
from little_monster.db.policies.functions import define, undefine

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

JUDGE_COMMENT = f"""
CREATE OR REPLACE FUNCTION content.judge_comment(
        comment uuid, judged text, verdict public.moderation_status, reason text
    ) RETURNS boolean LANGUAGE plpgsql VOLATILE {_DEFINER}
    AS $$
    BEGIN
        UPDATE public.comments c SET moderation_status = verdict, moderation_reason = reason
        WHERE c.id = comment AND c.user_id = auth.uid() AND c.text = judged
            AND c.moderation_status = 'pending' AND c.moderation_reason IS NULL;
        RETURN FOUND;
    END
    $$
"""

# As before, but for the reason of what waits for a moderator.
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
            NEW.moderation_reason := CASE
                WHEN OLD.moderation_status = 'rejected' THEN 'A moderator rejected it before this edit.'
                WHEN OLD.moderation_status = 'pending' THEN OLD.moderation_reason
            END;
        END IF;
        RETURN NEW;
    END
    $$
"""

_JUDGE = "content.judge_comment(uuid, text, public.moderation_status, text)"


def create() -> Iterator[str]:
    """Yield what replaces the functions."""
    yield from _replace_judge(JUDGE_COMMENT)
    yield GUARD_COMMENT


def drop() -> Iterator[str]:
    """Yield what brings the former ones back."""
    yield from _replace_judge(content.JUDGE_COMMENT)
    yield content.GUARD_COMMENT


def _replace_judge(statement: str) -> Iterator[str]:
    # Only lm_system, or a superuser, could replace what lm_system owns; its schema's owner may drop it.
    functions = {_JUDGE: statement}
    yield from undefine(functions)
    yield from define(functions, "content")

"""One admin stays: what an admin asks before their account goes.

The function follows the rules of `definers.py`.
"""

from collections.abc import Iterator

from little_monster.db.policies.administration import LOCK
from little_monster.db.policies.functions import give_away

# Under the lock of `auth.set_role`, which is held to the end of the transaction: of two admins who leave at
# once, the second one sees that the first one has left. Students do not wait for it.
IS_LAST_ADMIN = f"""
CREATE OR REPLACE FUNCTION auth.is_last_admin() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF NOT auth.has_role('admin') THEN
            RETURN false;
        END IF;
        PERFORM pg_advisory_xact_lock({LOCK});
        RETURN auth.has_role('admin')
            AND NOT EXISTS (SELECT FROM public.users u WHERE u.role = 'admin' AND u.id <> auth.uid());
    END
    $$
"""

FUNCTIONS = {"auth.is_last_admin()": IS_LAST_ADMIN}


def create() -> Iterator[str]:
    """Yield what makes the function, gives it to lm_system, and lets lm_app call it."""
    yield from FUNCTIONS.values()
    yield from give_away(FUNCTIONS, "auth")


def drop() -> Iterator[str]:
    """Yield what removes the function."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"

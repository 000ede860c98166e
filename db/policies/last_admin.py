"""One admin stays: what an admin asks before their account goes.

The function follows the rules of `definers.py`.
"""

from collections.abc import Iterator

from little_monster.db.policies.administration import LOCK

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
    # Only who may create in a schema can own a function there; taken back below.
    yield "GRANT CREATE, USAGE ON SCHEMA auth TO lm_system"
    for name, statement in FUNCTIONS.items():
        yield statement
        yield f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {name} TO lm_app"
        yield f"ALTER FUNCTION {name} OWNER TO lm_system"
    yield "REVOKE CREATE ON SCHEMA auth FROM lm_system"


def drop() -> Iterator[str]:
    """Yield what removes the function."""
    for name in FUNCTIONS:
        yield f"DROP FUNCTION IF EXISTS {name}"

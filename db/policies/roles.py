"""The two roles of every Little Monster database. Neither can log in.

`lm_app` is what the services' login role is a member of: rights on rows that the policies then narrow down.
`lm_system` owns the functions of `definers.py`, and has rights on just the columns that those need.
"""

APP = "lm_app"
SYSTEM = "lm_system"

# Roles belong to the whole server, where another database, or another migration at this moment, may have made
# them.
ENSURE = """
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['lm_app', 'lm_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$
"""

# Giving a function to lm_system takes the right to become it. PostgreSQL 16 and later can grant just that;
# before, a member also inherits.
BECOME_SYSTEM = """
DO $$
BEGIN
    IF NOT pg_catalog.pg_has_role(current_user, 'lm_system', 'MEMBER') THEN
        EXECUTE 'GRANT lm_system TO CURRENT_USER';
    ELSIF pg_catalog.current_setting('server_version_num')::int >= 160000
        AND NOT pg_catalog.pg_has_role(current_user, 'lm_system', 'SET') THEN
        EXECUTE 'GRANT lm_system TO CURRENT_USER WITH INHERIT FALSE, SET TRUE';
    END IF;
END
$$
"""

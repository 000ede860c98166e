"""How a function that sees more than its caller's rows is given to lm_system, and what lm_system may see."""

from collections.abc import Iterator, Mapping


def give_away(functions: Mapping[str, str]) -> Iterator[str]:
    """Yield what gives functions of the schema `auth` that are made, by their names, to lm_system, and lets
    lm_app call those that are no trigger's."""
    # Only who may create in a schema can own a function there; taken back below.
    yield "GRANT CREATE, USAGE ON SCHEMA auth TO lm_system"
    for name, statement in functions.items():
        yield f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
        if "RETURNS trigger" not in statement:
            yield f"GRANT EXECUTE ON FUNCTION {name} TO lm_app"
        yield f"ALTER FUNCTION {name} OWNER TO lm_system"
    yield "REVOKE CREATE ON SCHEMA auth FROM lm_system"


def allow(rights: Mapping[str, str], policies: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Yield what gives lm_system each right on its table, and makes the rule of each (table, policy)."""
    for right, table in rights.items():
        yield f"GRANT {right} ON {table} TO lm_system"
    for (table, policy), rule in policies.items():
        yield f"DROP POLICY IF EXISTS {policy} ON {table}"
        yield f"CREATE POLICY {policy} ON {table} {rule}"

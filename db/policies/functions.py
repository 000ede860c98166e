"""How a function that sees more than its caller's rows is given to lm_system, and what lm_system may see."""

from collections.abc import Iterator, Mapping


def define(functions: Mapping[str, str], schemas: str) -> Iterator[str]:
    """Yield what makes the functions and gives them away.

    Args:
        functions: by name with argument types, the statement that creates each.
        schemas: where they stand, divided by commas.
    """
    yield from functions.values()
    yield from give_away(functions, schemas)


def give_away(functions: Mapping[str, str], schemas: str) -> Iterator[str]:
    """Yield what gives functions that are made to lm_system, and lets lm_app call those that are no
    trigger's."""
    # Only who may create in a schema can own a function there; taken back below.
    yield f"GRANT CREATE, USAGE ON SCHEMA {schemas} TO lm_system"
    for name, statement in functions.items():
        yield f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
        if "RETURNS trigger" not in statement:
            yield f"GRANT EXECUTE ON FUNCTION {name} TO lm_app"
        yield f"ALTER FUNCTION {name} OWNER TO lm_system"
    yield f"REVOKE CREATE ON SCHEMA {schemas} FROM lm_system"


def undefine(functions: Mapping[str, str]) -> Iterator[str]:
    """Yield what removes them."""
    for name in functions:
        yield f"DROP FUNCTION IF EXISTS {name}"


def allow(rights: Mapping[str, str], policies: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Yield what gives lm_system each right on its table, and makes the rule of each (table, policy)."""
    for right, table in rights.items():
        yield f"GRANT {right} ON {table} TO lm_system"
    for (table, policy), rule in policies.items():
        yield f"DROP POLICY IF EXISTS {policy} ON {table}"
        yield f"CREATE POLICY {policy} ON {table} {rule}"

"""How a function that sees several users' rows is made: it belongs to lm_system, and only lm_app calls it."""

from collections.abc import Iterator, Mapping


def define(functions: Mapping[str, str], schemas: str) -> Iterator[str]:
    """Yield what makes the functions.

    Args:
        functions: by name with argument types, the statement that creates each.
        schemas: where they stand, divided by commas.
    """
    # Only who may create in a schema can own a function there; taken back below.
    yield f"GRANT CREATE, USAGE ON SCHEMA {schemas} TO lm_system"
    for name, statement in functions.items():
        yield statement
        yield f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {name} TO lm_app"
        yield f"ALTER FUNCTION {name} OWNER TO lm_system"
    yield f"REVOKE CREATE ON SCHEMA {schemas} FROM lm_system"


def undefine(functions: Mapping[str, str]) -> Iterator[str]:
    """Yield what removes them."""
    for name in functions:
        yield f"DROP FUNCTION IF EXISTS {name}"

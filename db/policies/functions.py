"""How a function that sees more than its caller's rows is given to lm_system, who sees them."""

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

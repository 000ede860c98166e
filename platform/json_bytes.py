"""Values as JSON."""

from uuid import UUID

import orjson


def to_json(value: object) -> bytes:
    """Return anything that orjson writes (dataclasses, UUIDs, tuples) as JSON."""
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> str:
    # The database driver's UUIDs are of a class of their own, which orjson does not know.
    if isinstance(value, UUID):
        return str(value)
    raise TypeError

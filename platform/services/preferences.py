"""What users set for themselves: any JSON object within limits, which clients read and the API does not."""

import json
from collections.abc import Iterator
from typing import Any, Final

from little_monster.platform.errors import InvalidInput

MAX_BYTES: Final = 16 * 1024
MAX_DEPTH: Final = 8
# Beyond it, JSON readers in browsers lose digits.
MAX_NUMBER: Final = 2**53


def merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return `old` changed by a JSON Merge Patch (RFC 7396): objects are merged, null removes, all else
    replaces.

    Raises:
        InvalidInput: the result is over a limit.
    """
    result = _merge(old, patch)
    try:
        check(result)
    except ValueError as error:
        field = "body.preferences"
        raise InvalidInput(
            f"`preferences` {error}.", errors=[{"field": field, "message": str(error)}]
        ) from None
    return result


def check(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` when it can be kept.

    Raises:
        ValueError: it is too deep or too large, or holds what PostgreSQL or a browser cannot.
    """
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            _check_text(leaf)
        elif isinstance(leaf, (int, float)) and not abs(leaf) <= MAX_NUMBER:  # Not a number is neither.
            raise ValueError(f"must hold no number over {MAX_NUMBER}")
    if len(json.dumps(value, ensure_ascii=False).encode()) > MAX_BYTES:
        raise ValueError(f"must not be larger than {MAX_BYTES} bytes")
    return value


def _leaves(value: dict[str, Any]) -> Iterator[object]:
    """Yield names and plain values, level by level, so that no depth can exhaust the stack."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = [one for outer in level for one in _members(outer)]
        yield from (one for outer in level if isinstance(outer, dict) for one in outer)
        yield from (one for one in inner if not isinstance(one, (dict, list)))
        level = [one for one in inner if isinstance(one, (dict, list))]
    if level:
        raise ValueError(f"must not be deeper than {MAX_DEPTH} levels")


def _members(value: Any) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else value


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain half of a character")


def _merge(old: Any, patch: dict[str, Any]) -> dict[str, Any]:
    result = {**old} if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value) if isinstance(value, dict) else value
    return result

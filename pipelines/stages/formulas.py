"""Formulas in a text that does not mark them, found by the signs that only they have."""

import re
from collections.abc import Iterable

# Relations, operators and letters of mathematics (Unicode blocks 2200 and 1D400), and its Greek.
_GREEK = "[\u0393-\u03a9\u03b1-\u03c9]"
_SIGN = re.compile(f"[\u2200-\u22ff\u2a00-\u2aff\U0001d400-\U0001d7ff]|{_GREEK}.*=|=.*{_GREEK}")
# A letter of a font without a meaning that is known: a program sees a box.
_LOST = re.compile("[\ufffd\ue000-\uf8ff]")


def formulas_in(lines: Iterable[str]) -> tuple[int, int]:
    """Return in how many of the lines there is a formula, and in how many of those every sign is known."""
    # Plain ASCII has none of the signs, and most lines are.
    found = [line for line in lines if not line.isascii() and (_SIGN.search(line) or _LOST.search(line))]
    return len(found), sum(1 for line in found if not _LOST.search(line))

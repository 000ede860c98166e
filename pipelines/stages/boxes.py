"""Where a passage stands on its pages."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from little_monster.pipelines.stages.document import Box


def boxes_within(lines: Sequence[Box], start: int, end: int) -> tuple[Box, ...]:
    """Return those of the lines, given in order, that have a character in `text[start:end]`, whole."""
    first = bisect_right(lines, start, key=lambda line: line.end)
    after = bisect_left(lines, end, key=lambda line: line.start)
    return tuple(lines[first:after])

"""The straight lines that are drawn on a PDF page, and the grids that they make."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref, c_float
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from pypdfium2 import raw

from little_monster.pipelines.stages.document import Bounds
from little_monster.pipelines.stages.pictures import MOST_OBJECTS, bounds_of

# In points: a shape that is this thin is a line; lines this close are one, and meet.
_THICKNESS = 3.0
_CLOSE = 3.0
_SHORTEST = 8.0
# A page with more of them than this is a drawing: parts of shapes, lines in one direction, cells of a grid,
# and grids.
_MOST_SEGMENTS, _MOST_RULINGS, _MOST_CELLS, _MOST_GRIDS = 4_000, 200, 1_500, 50
# The part of a cell's side that must be drawn to part it from the next cell.
_DRAWN = 0.5


class Ruling(NamedTuple):
    """A line along one axis, from `start` to `end` there, `at` a place on the other axis, in points."""

    at: float
    start: float
    end: float


class Rulings(NamedTuple):
    """The lines of a page that go across it and down it."""

    across: Sequence[Ruling]
    down: Sequence[Ruling]


@dataclass(frozen=True, slots=True)
class Grid:
    """The borders of columns (from the left) and of rows (from the top), in points, and of each cell that is
    part of a larger one, the first cell of that: `row, column`, both counted from 0.
    """

    columns: Sequence[float]
    rows: Sequence[float]
    merged: dict[tuple[int, int], tuple[int, int]]

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the row and the column of the cell that a point is in."""
        row = bisect_left(self.rows, -y, key=lambda border: -border) - 1
        column = bisect_left(self.columns, x) - 1
        if not (0 <= row < len(self.rows) - 1 and 0 <= column < len(self.columns) - 1):
            return None
        return self.merged.get((row, column), (row, column))


class Drawn(NamedTuple):
    """What is drawn on a page that may be the lines of tables: grids of more than one cell, small ones first,
    as they may stand in larger ones; and bands, three or more lines across below each other that no line down
    meets.
    """

    grids: Sequence[Grid] = ()
    bands: Sequence[Sequence[Ruling]] = ()


def drawn_on(page: Any) -> Drawn:
    """Look for lines on a `pypdfium2.PdfPage`; a drawing of many parts has none."""
    rulings = _rulings(page)
    if not any(rulings):
        return Drawn()
    grids = sorted(_grids(rulings), key=_area)
    return Drawn(grids if len(grids) <= _MOST_GRIDS else [], [*_bands(rulings)])


def _rulings(page: Any) -> Rulings:
    across, down = [], []
    for count, (left, bottom, right, top) in enumerate(_segments(page)):
        if count == _MOST_SEGMENTS:
            return Rulings((), ())
        if top - bottom <= _THICKNESS < right - left:
            across.append(Ruling((bottom + top) / 2, left, right))
        elif right - left <= _THICKNESS < top - bottom:
            down.append(Ruling((left + right) / 2, bottom, top))
    found = Rulings(_joined(across), _joined(down))
    return found if max(map(len, found)) <= _MOST_RULINGS else Rulings((), ())


def _grids(rulings: Rulings) -> Iterator[Grid]:
    """Yield the grid of each group of lines that meet; where lines end openly, their ends are its border."""
    for across, down in _groups(rulings):
        if across and down:
            columns, rows = _borders(down, across), _borders(across, down)[::-1]
            if 1 < (len(columns) - 1) * (len(rows) - 1) <= _MOST_CELLS:
                yield Grid(columns, rows, _merged(columns, rows, across, down))


def _bands(rulings: Rulings) -> Iterator[list[Ruling]]:
    """Yield the lines across, from the top, that meet no line down and begin and end at the same places."""
    alone = [across[0] for across, down in _groups(rulings) if not down]
    places: defaultdict[tuple[int, int], list[Ruling]] = defaultdict(list)
    for ruling in sorted(alone, reverse=True):
        near = (key for key in places if max(abs(key[0] - ruling.start), abs(key[1] - ruling.end)) <= _CLOSE)
        places[next(near, (round(ruling.start), round(ruling.end)))].append(ruling)
    yield from (band for band in places.values() if len(band) > 2)


def _segments(page: Any) -> Iterator[Bounds]:
    """Yield the bounds of the straight parts of what is drawn on a page."""
    count = min(raw.FPDFPage_CountObjects(page.raw), MOST_OBJECTS)
    shapes = (raw.FPDFPage_GetObject(page.raw, at) for at in range(count))
    for shape in shapes:
        if raw.FPDFPageObj_GetType(shape) != raw.FPDF_PAGEOBJ_PATH:
            continue
        left, bottom, right, top = bounds = bounds_of(shape)
        if min(right - left, top - bottom) <= _THICKNESS:
            yield bounds
        else:
            yield from _sides(shape)


def _sides(shape: Any) -> Iterator[Bounds]:
    """Yield the bounds of each straight part of a path."""
    place, x, y = raw.FS_MATRIX(), c_float(), c_float()
    raw.FPDFPageObj_GetMatrix(shape, byref(place))
    last = None
    for index in range(min(raw.FPDFPath_CountSegments(shape), _MOST_SEGMENTS)):
        segment = raw.FPDFPath_GetPathSegment(shape, index)
        raw.FPDFPathSegment_GetPoint(segment, byref(x), byref(y))
        point = (
            place.a * x.value + place.c * y.value + place.e,
            place.b * x.value + place.d * y.value + place.f,
        )
        if last and raw.FPDFPathSegment_GetType(segment) == raw.FPDF_SEGMENT_LINETO:
            yield _bounds(last, point)
        last = point


def _bounds(one: tuple[float, float], other: tuple[float, float]) -> Bounds:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _joined(rulings: Iterable[Ruling]) -> list[Ruling]:
    """Make one of lines that go on or lie upon each other; short ones are left out."""
    joined: list[Ruling] = []
    for level in _levels(rulings):
        at = sum(ruling.at for ruling in level) / len(level)
        runs: list[Ruling] = []
        for ruling in sorted(level, key=lambda ruling: ruling.start):
            if runs and ruling.start <= runs[-1].end + _CLOSE:
                runs[-1] = Ruling(at, runs[-1].start, max(runs[-1].end, ruling.end))
            else:
                runs.append(Ruling(at, ruling.start, ruling.end))
        joined += (run for run in runs if run.end - run.start >= _SHORTEST)
    return joined


def _levels(rulings: Iterable[Ruling]) -> Iterator[list[Ruling]]:
    level: list[Ruling] = []
    for ruling in sorted(rulings):
        if level and ruling.at > level[0].at + _CLOSE:
            yield level
            level = []
        level.append(ruling)
    if level:
        yield level


def _groups(rulings: Rulings) -> Iterator[tuple[list[Ruling], list[Ruling]]]:
    """Yield the lines across and down that hang together."""
    groups: list[tuple[list[Ruling], list[Ruling]]] = [([line], []) for line in rulings.across]
    for line in rulings.down:
        joined: tuple[list[Ruling], list[Ruling]] = ([], [line])
        apart = []
        for group in groups:
            if any(_meet(across, line) for across in group[0]):
                joined = joined[0] + group[0], joined[1] + group[1]
            else:
                apart.append(group)
        groups = [*apart, joined]
    yield from groups


def _meet(across: Ruling, down: Ruling) -> bool:
    return (
        across.start - _CLOSE <= down.at <= across.end + _CLOSE
        and down.start - _CLOSE <= across.at <= down.end + _CLOSE
    )


def _borders(lines: Sequence[Ruling], crossing: Sequence[Ruling]) -> list[float]:
    ends = (min(line.start for line in crossing), max(line.end for line in crossing))
    places = (Ruling(place, 0, 0) for place in (*ends, *(line.at for line in lines)))
    return [level[0].at for level in _levels(places)]


def _area(grid: Grid) -> float:
    return (grid.columns[-1] - grid.columns[0]) * (grid.rows[0] - grid.rows[-1])


def _merged(
    columns: Sequence[float], rows: Sequence[float], across: Sequence[Ruling], down: Sequence[Ruling]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Find the cells with no line to the cell before them or above them."""
    merged: dict[tuple[int, int], tuple[int, int]] = {}
    above = [_on(across, border) for border in rows]
    beside = [_on(down, border) for border in columns]
    for row, column in product(range(len(rows) - 1), range(len(columns) - 1)):
        before = []
        if column and not _is_drawn(beside[column], rows[row + 1], rows[row]):
            before.append((row, column - 1))
        if row and not _is_drawn(above[row], columns[column], columns[column + 1]):
            before.append((row - 1, column))
        if before:
            merged[row, column] = min(merged.get(cell, cell) for cell in before)
    return merged


def _on(rulings: Iterable[Ruling], border: float) -> list[Ruling]:
    return [ruling for ruling in rulings if abs(ruling.at - border) <= _CLOSE]


def _is_drawn(rulings: Iterable[Ruling], start: float, end: float) -> bool:
    drawn = sum(max(min(end, ruling.end) - max(start, ruling.start), 0.0) for ruling in rulings)
    return drawn >= _DRAWN * (end - start)

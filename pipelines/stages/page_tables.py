"""The tables of a PDF page: words in the cells of a drawn grid, or in columns with white space between."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from little_monster.pipelines.stages.document import Bounds
from little_monster.pipelines.stages.lines import Line, Word
from little_monster.pipelines.stages.rulings import Drawn, Grid, Ruling
from little_monster.pipelines.stages.tables import markdown_table

# Text is no table when the cells of a column have more characters than this in the middle: columns of prose.
_LONGEST_CELL = 40
# Letter heights between two columns, between two lines of a cell, and between rows without lines.
_COLUMN_GAP, _ROW_STEP, _ROW_GAP = 0.8, 0.5, 2.0
_LEAST_ROWS = 3
# The part of the rows of a table without a grid that must have something in two columns.
_FULL_ROWS = 0.5
# Points that words may stand over the ends of lines.
_OVER = 3.0

Lines = list[Line]
Cell = list[Word]
Row = list[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page: of each row its text in Markdown, the first with the line below the head, and its
    bounds.
    """

    rows: Sequence[tuple[str, Bounds]]


def page_parts(
    lines: Sequence[Line], words: Sequence[Sequence[Word]], drawn: Drawn, captions: Sequence[int]
) -> list[Lines | Table]:
    """Return the lines of a page, and tables in the place of theirs; every word is in one or the other.

    Args:
        lines: of the page.
        words: of each of the lines.
        drawn: on it.
        captions: which lines begin the caption of a table.
    """
    owners: dict[int, Table] = {}
    for rows in _found(words, drawn, captions, owners):
        table = Table([*_texts(rows)])
        owners |= {id(word): table for row in rows for cell in row for word in cell}
    return _parts(lines, words, owners)


def _found(
    words: Sequence[Sequence[Word]], drawn: Drawn, captions: Sequence[int], taken: dict[int, Table]
) -> Iterator[list[Row]]:
    """Yield the rows of each table, of words that are in none before: `taken` grows meanwhile."""
    every = [word for line in words for word in line]
    for grid in drawn.grids:
        inside = [word for word in every if id(word) not in taken and grid.cell(*word.middle)]
        if rows := _in_grid(grid, inside):
            yield rows
    for band in drawn.bands:
        for run in _tabular_runs(band, [word for word in every if id(word) not in taken]):
            if rows := _in_columns(run):
                yield rows
    for caption in captions:
        below = _below(words[caption:])
        if not any(id(word) in taken for word in below) and (rows := _in_columns(below)):
            yield rows


def _in_grid(grid: Grid, words: Sequence[Word]) -> list[Row]:
    """Return the rows of a grid that has a table in it, else none."""
    if len(grid.columns) == 2:
        return _in_columns(words) if len(grid.rows) > _LEAST_ROWS else []
    cells: defaultdict[tuple[int, int], Cell] = defaultdict(list)
    for word in words:
        if place := grid.cell(*word.middle):
            cells[place].append(word)
    width, height = len(grid.columns) - 1, len(grid.rows) - 1
    rows = [[cells[row, column] for column in range(width)] for row in range(height)]
    # Lines between the columns, but none between the rows below the head.
    split = [part for row in rows for part in _split(row)] if len(rows) <= 2 else []
    return _trimmed(split if len(split) >= _LEAST_ROWS and _is_tabular(split) else rows)


def _split(row: Row) -> list[Row]:
    """Return a row for each line of words in a row of a grid."""
    columns = {id(word): column for column, cell in enumerate(row) for word in cell}
    lines = _lines([word for cell in row for word in cell])
    return _without_continuations(
        [[[word for word in line if columns[id(word)] == at] for at in range(len(row))] for line in lines]
    )


def _in_columns(words: Sequence[Word]) -> list[Row]:
    """Return the rows of words that stand in columns, with white space between, else none."""
    lines = _lines(words)
    if not _has_columns(lines):
        return []
    borders = _column_borders(lines)
    rows = []
    for line in lines:
        row: Row = [[] for _ in range(len(borders) + 1)]
        for word in line:
            row[bisect_left(borders, word.middle[0])].append(word)
        rows.append(row)
    rows = _without_continuations(rows)
    return _trimmed(rows) if len(rows) >= _LEAST_ROWS and _is_tabular(rows) else []


def _trimmed(rows: Sequence[Row]) -> list[Row]:
    """Leave out rows and columns without any word; return none where less than two of both are left."""
    filled = [row for row in rows if any(row)]
    columns = [column for column in zip(*filled, strict=True) if any(column)]
    if len(filled) < 2 or len(columns) < 2 or sum(1 for row in filled for cell in row if cell) < 3:
        return []
    return [list(row) for row in zip(*columns, strict=True)]


def _lines(words: Sequence[Word]) -> list[list[Word]]:
    """Return words by the lines that they stand on, from the top; on each as they follow in the text."""
    lines: list[list[Word]] = []
    order = {id(word): at for at, word in enumerate(words)}
    for word in sorted(words, key=lambda word: -word.middle[1]):
        if lines and lines[-1][0].middle[1] - word.middle[1] < _ROW_STEP * _height(lines[-1][0]):
            lines[-1].append(word)
        else:
            lines.append([word])
    return [sorted(line, key=lambda word: order[id(word)]) for line in lines]


def _column_borders(lines: Sequence[Sequence[Word]]) -> list[float]:
    """Return the middles of the gaps that go through the lines with the usual number of segments, from the
    left: a head over several columns has less.
    """
    segments = [_segments(line) for line in lines]
    usual, _ = Counter(len(line) for line in segments if len(line) > 1).most_common(1)[0]
    columns: list[tuple[float, float]] = []
    for left, right in sorted(part for line in segments if len(line) >= usual for part in line):
        if columns and left < columns[-1][1]:
            columns[-1] = columns[-1][0], max(right, columns[-1][1])
        else:
            columns.append((left, right))
    return [(before[1] + after[0]) / 2 for before, after in pairwise(columns)]


def _segments(line: Sequence[Word]) -> list[tuple[float, float]]:
    """Return where the parts of a line begin and end that wide gaps part."""
    parts: list[tuple[float, float]] = []
    for word in sorted(line, key=lambda word: word.left):
        if parts and word.left - parts[-1][1] < _COLUMN_GAP * _height(word):
            parts[-1] = parts[-1][0], max(parts[-1][1], word.right)
        else:
            parts.append((word.left, word.right))
    return parts


def _without_continuations(rows: Sequence[Row]) -> list[Row]:
    """Add lines that go on with the cells above, and begin no row of their own, to the row above."""
    joined: list[Row] = []
    for row in rows:
        if joined and not row[0] and 2 * sum(1 for cell in row if cell) <= len(row):
            joined[-1] = [[*above, *below] for above, below in zip(joined[-1], row, strict=True)]
        else:
            joined.append(row)
    return joined


def _is_tabular(rows: Sequence[Row]) -> bool:
    """Say whether rows without lines between them look like those of a table, not like columns of prose."""
    full = sum(1 for row in rows if sum(1 for cell in row if cell) > 1)
    columns = ([len(_text(cell)) for cell in column if cell] for column in zip(*rows, strict=True))
    return full >= _FULL_ROWS * len(rows) and all(
        sum(lengths) <= _LONGEST_CELL * len(lengths) for lengths in columns
    )


def _tabular_runs(band: Sequence[Ruling], words: Sequence[Word]) -> Iterator[list[Word]]:
    """Yield the words between lines across, as far as they stand in columns from each line to the next; two
    such parts at least, head and body.
    """
    between = [_between(above, below, words) for above, below in pairwise(band)]
    for _, parts in groupby(between, key=lambda part: _has_columns(_lines(part))):
        run = [*parts]
        if len(run) > 1:
            yield [word for part in run for word in part]


def _between(above: Ruling, below: Ruling, words: Sequence[Word]) -> list[Word]:
    return [
        word
        for word in words
        if below.at < word.middle[1] < above.at and above.start - _OVER <= word.middle[0] <= above.end + _OVER
    ]


def _has_columns(lines: Sequence[Sequence[Word]]) -> bool:
    return bool(lines) and sum(1 for line in lines if len(_segments(line)) > 1) >= _FULL_ROWS * len(lines)


def _below(words: Sequence[Sequence[Word]]) -> list[Word]:
    """Return the words under the first line, a caption, that stand in columns and close together."""
    found: list[Word] = []
    for line in _downward(words[0], words[1:]):
        gap = (found or words[0])[-1].bottom - line[0].top
        if len(_segments(line)) > 1 and gap <= _ROW_GAP * _height(line[0]):
            found += line
        elif found or gap > _ROW_GAP * _height(line[0]):
            break
    return found


def _downward(above: Sequence[Word], lines: Sequence[Sequence[Word]]) -> Iterator[list[Word]]:
    """Yield lines of words as long as the text goes on downwards: where it goes up, another column begins."""
    last, following = above[0], list[Word]()
    for words in lines:
        if words and words[0].bottom >= last.top:
            break
        following += words
        last = words[0] if words else last
    yield from _lines(following)


def _texts(rows: Sequence[Row]) -> Iterator[tuple[str, Bounds]]:
    """Yield the text of each row in Markdown, and its bounds."""
    head, rule, *body = markdown_table([[_text(cell) for cell in row] for row in rows]).split("\n")
    for text, row in zip([f"{head}\n{rule}", *body], rows, strict=True):
        yield text, _bounds([word for cell in row for word in cell])


def _text(cell: Cell) -> str:
    """Return the text of a cell; a hyphenated word is one, if both parts of it are there."""
    return "".join(word.text if word.joined else f" {word.text}" for word in cell).strip()


def _bounds(words: Sequence[Word]) -> Bounds:
    return (
        min(word.left for word in words),
        min(word.bottom for word in words),
        max(word.right for word in words),
        max(word.top for word in words),
    )


def _parts(
    lines: Sequence[Line], words: Sequence[Sequence[Word]], owners: Mapping[int, Table]
) -> list[Lines | Table]:
    """Return the lines, without their words that are in tables, and each table where its first word is."""
    parts: list[Lines | Table] = []
    for line, its_words in zip(lines, words, strict=True):
        for owner, run in groupby(its_words, key=lambda word: owners.get(id(word))):
            if owner is None:
                _append(parts, _part_of(line, [*run], its_words))
            elif not any(owner is part for part in parts):
                parts.append(owner)
    return parts


def _append(parts: list[Lines | Table], line: Line) -> None:
    if parts and isinstance(parts[-1], list):
        parts[-1].append(line)
    else:
        parts.append([line])


def _part_of(line: Line, words: Sequence[Word], all_words: Sequence[Word]) -> Line:
    if len(words) == len(all_words):
        return line
    return Line(" ".join(word.text for word in words), *_bounds(words), line.size, words[0].joined)


def _height(word: Word) -> float:
    return max(word.top - word.bottom, 1.0)

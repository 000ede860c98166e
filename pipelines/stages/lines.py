"""Lines of a PDF page and the paragraphs that they make, from where they stand on the page."""

import re
from collections.abc import Iterator, Sequence
from ctypes import byref
from itertools import pairwise
from math import hypot
from statistics import median_low
from typing import Any, NamedTuple

from pypdfium2 import raw

from little_monster.pipelines.stages.document import Bounds, storable

# A paragraph begins where lines stand this much further apart than they mostly do, ...
_GAP_RATIO = 1.35
# ... where the size of the letters changes by this much, ...
_SIZE_RATIO = 1.12
# ... or where a line after a full stop is indented by this many letter sizes.
_INDENT = 0.8

_SENTENCE_ENDS = ".!?:。！？"  # noqa: RUF001  Full-width marks end sentences in CJK text.

# PDFium joins a word that is hyphenated over two lines and leaves one of these where the hyphen was.
_HYPHEN_MARKS = re.compile("[\ufffe\x02]")
_LINE_END = "\r\n"


class Line(NamedTuple):
    """One line of text; its bounds in points from the lower left corner of the page, `size` of its letters in
    points.
    """

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float


def page_lines(page: Any) -> list[Line]:
    """Return the visible lines of a `pypdfium2.PdfTextPage`, in reading order; a hyphenated word goes to its
    first line.
    """
    text = page.get_text_range()
    places = _Places(page.raw)
    lines, position = [], 0
    for line in text.split(_LINE_END):
        visible = _visible(line)
        if visible:
            first = position + _units(line) - _units(line.lstrip())
            last = position + _units(line.rstrip()) - 1
            lines.append(Line(visible, *places.bounds(first, last), places.letter_size(first)))
        position += _units(line) + len(_LINE_END)
    return lines


def paragraphs(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield the lines of a page, grouped."""
    pitch = _usual_pitch(lines)
    paragraph: list[Line] = []
    for line in lines:
        if paragraph and _parts(paragraph, line, pitch):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield paragraph


class _Places:
    """Where characters of a page stand; they are named by their place in its text, in UTF-16 code units.

    The structures are made once a page: making them for each call took longer than the calls.
    """

    def __init__(self, page: Any) -> None:
        self._page = page
        self._box, self._matrix = raw.FS_RECTF(), raw.FS_MATRIX()
        self._box_at, self._matrix_at = byref(self._box), byref(self._matrix)

    def bounds(self, first: int, last: int) -> Bounds:
        """Return the bounds of a line from those of its first and last characters."""
        one, other = self._bounds(first), self._bounds(last)
        return (
            min(one[0], other[0]),
            min(one[1], other[1]),
            max(one[2], other[2]),
            max(one[3], other[3]),
        )

    def letter_size(self, position: int) -> float:
        """Return the size of a letter in points, to the half."""
        index = self._index(position)
        # The size in the text operator counts only together with the matrix that scales it.
        found = raw.FPDFText_GetMatrix(self._page, index, self._matrix_at)
        scale = hypot(self._matrix.c, self._matrix.d) if found else 1.0
        return round(2 * scale * raw.FPDFText_GetFontSize(self._page, index)) / 2

    def _bounds(self, position: int) -> Bounds:
        box = self._box
        if not raw.FPDFText_GetLooseCharBox(self._page, self._index(position), self._box_at):
            return 0.0, 0.0, 0.0, 0.0
        return round(box.left, 2), round(box.bottom, 2), round(box.right, 2), round(box.top, 2)

    def _index(self, position: int) -> int:
        return max(raw.FPDFText_GetCharIndexFromTextIndex(self._page, position), 0)


def _visible(text: str) -> str:
    # Most lines need no look at each character.
    return (text if text.isprintable() else _HYPHEN_MARKS.sub("", storable(text))).strip()


def _units(text: str) -> int:
    # PDFium counts UTF-16 code units.
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _usual_pitch(lines: Sequence[Line]) -> float:
    pitches = [above.top - below.top for above, below in pairwise(lines) if above.top > below.top]
    return median_low(pitches) if pitches else 0.0


def _parts(paragraph: Sequence[Line], line: Line, pitch: float) -> bool:
    above = paragraph[-1]
    small, large = sorted((above.size, line.size))
    if large > _SIZE_RATIO * small:
        return True
    if above.top - line.top > _GAP_RATIO * max(pitch, line.size):
        return True
    ended = above.text[-1] in _SENTENCE_ENDS
    # A line that stands higher begins the next column.
    return ended and (line.top > above.top + line.size or line.left > above.left + _INDENT * line.size)

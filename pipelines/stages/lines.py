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

_BULLETS = "\u2022\u2023\u25e6\u25aa\u25ab\u25cf\u25cb\u25a0\u2043"

# PDFium joins two lines when a word is hyphenated over them, and leaves one of these where the hyphen was.
_HYPHEN_MARK = re.compile("[\ufffe\x02]")
_LINE_END = "\r\n"


class Line(NamedTuple):
    """One line of text; its bounds in points from the lower left corner of the page, `size` of its letters in
    points; `joined` when it goes on with a word that was hyphenated at the end of the line before.
    """

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    joined: bool = False


def page_lines(page: Any) -> list[Line]:
    """Return the visible lines of a `pypdfium2.PdfTextPage`, in reading order."""
    text = page.get_text_range()
    places = _Places(page.raw, _units(text))
    lines: list[Line] = []
    position = 0
    for line in text.split(_LINE_END):
        if line.isprintable():
            lines += _parts_of(line, position, places, joined=False)
            position += _units(line)
        else:
            for number, part in enumerate(_HYPHEN_MARK.split(line)):
                lines += _parts_of(part, position, places, joined=number > 0 and bool(lines))
                position += _units(part) + 1
            position -= 1
        position += len(_LINE_END)
    return lines


def _parts_of(line: str, position: int, places: "_Places", *, joined: bool) -> Iterator[Line]:
    visible = (line if line.isprintable() else storable(line)).strip()
    if visible:
        # White space is one unit a character.
        first = position + len(line) - len(line.lstrip())
        last = position + _units(line) - len(line) + len(line.rstrip()) - 1
        yield Line(visible, *places.bounds(first, last), places.letter_size(first), joined)


def is_list_item(line: Line) -> bool:
    """Say whether a line begins an item of a list: with a bullet."""
    return line.text[0] in _BULLETS and len(line.text) > 1


def paragraphs(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield the lines of a page, grouped."""
    pitch = _usual_pitch(lines)
    paragraph: list[Line] = []
    for line in lines:
        if paragraph and not line.joined and _parts(paragraph, line, pitch):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield paragraph


class _Places:
    """Where characters of a page stand; they are named by their place in its text, in UTF-16 code units.

    The structures are made once a page: making them for each call took longer than the calls.
    """

    def __init__(self, page: Any, units: int) -> None:
        self._page = page
        # Mostly the text has every character that the page has, and places need no translation.
        self._translated = raw.FPDFText_CountChars(page) != units
        self._box, self._other, self._matrix = raw.FS_RECTF(), raw.FS_RECTF(), raw.FS_MATRIX()
        self._box_at, self._other_at = byref(self._box), byref(self._other)
        self._matrix_at = byref(self._matrix)

    def bounds(self, first: int, last: int) -> Bounds:
        """Return the bounds of a line from those of its first and last characters."""
        one, other = self._box, self._other
        raw.FPDFText_GetLooseCharBox(self._page, self._index(first), self._box_at)
        raw.FPDFText_GetLooseCharBox(self._page, self._index(last), self._other_at)
        return (
            round(min(one.left, other.left), 1),
            round(min(one.bottom, other.bottom), 1),
            round(max(one.right, other.right), 1),
            round(max(one.top, other.top), 1),
        )

    def letter_size(self, position: int) -> float:
        """Return the size of a letter in points, to the half."""
        index = self._index(position)
        # The size in the text operator counts only together with the matrix that scales it.
        found = raw.FPDFText_GetMatrix(self._page, index, self._matrix_at)
        scale = hypot(self._matrix.c, self._matrix.d) if found else 1.0
        size: float = raw.FPDFText_GetFontSize(self._page, index)
        return round(2 * scale * size) / 2

    def _index(self, position: int) -> int:
        if not self._translated:
            return position
        index: int = raw.FPDFText_GetCharIndexFromTextIndex(self._page, position)
        return max(index, 0)


def _units(text: str) -> int:
    # PDFium counts UTF-16 code units.
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _usual_pitch(lines: Sequence[Line]) -> float:
    pitches = [above.top - below.top for above, below in pairwise(lines) if above.top > below.top]
    return median_low(pitches) if pitches else 0.0


def _parts(paragraph: Sequence[Line], line: Line, pitch: float) -> bool:
    above = paragraph[-1]
    if is_list_item(line):
        return True
    small, large = sorted((above.size, line.size))
    if large > _SIZE_RATIO * small:
        return True
    if above.top - line.top > _GAP_RATIO * max(pitch, line.size):
        return True
    ended = above.text[-1] in _SENTENCE_ENDS
    # A line that stands higher begins the next column.
    return ended and (line.top > above.top + line.size or line.left > above.left + _INDENT * line.size)

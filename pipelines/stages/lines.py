"""Lines of a PDF page and the paragraphs that they make, from where they stand on the page."""

import re
from collections.abc import Iterator, Sequence
from ctypes import byref
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from statistics import median_low
from typing import Any

from pypdfium2 import raw

from little_monster.pipelines.stages.document import storable

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


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; `left` and `top` in points from the lower left corner of the page, `size` of its
    letters in points.
    """

    text: str
    left: float
    top: float
    size: float


def page_lines(page: Any) -> list[Line]:
    """Return the visible lines of a `pypdfium2.PdfTextPage`, in reading order; a hyphenated word goes to its
    first line.
    """
    lines, position = [], 0
    for text in page.get_text_range().split(_LINE_END):
        if _visible(text):
            lines.append(_line(page, text, position))
        position += _units(text + _LINE_END)
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


def _visible(text: str) -> str:
    return _HYPHEN_MARKS.sub("", storable(text)).strip()


def _units(text: str) -> int:
    # PDFium counts UTF-16 code units.
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _line(page: Any, text: str, position: int) -> Line:
    first = position + _units(text) - _units(text.lstrip())
    index = max(raw.FPDFText_GetCharIndexFromTextIndex(page.raw, first), 0)
    left, _, _, top = page.get_charbox(index, loose=True)
    return Line(_visible(text), left, top, _letter_size(page, index))


def _letter_size(page: Any, index: int) -> float:
    # The size in the text operator counts only together with the matrix that scales it; half points are fine
    # enough.
    matrix = raw.FS_MATRIX()
    scale = hypot(matrix.c, matrix.d) if raw.FPDFText_GetMatrix(page.raw, index, byref(matrix)) else 1.0
    return round(2 * scale * float(raw.FPDFText_GetFontSize(page.raw, index))) / 2


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

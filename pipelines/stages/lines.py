"""Lines of a PDF page and the paragraphs that they make, from where they stand on the page."""

import re
from collections.abc import Iterable, Iterator, Sequence
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
_WORD = re.compile(r"\S+")


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


class Word(NamedTuple):
    """A word of a line, with no white space in it; its bounds as those of a line."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    joined: bool = False

    @property
    def middle(self) -> tuple[float, float]:
        """Where the middle of it is."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


def page_lines(page: Any) -> list[Line]:
    """Return the visible lines of a `pypdfium2.PdfTextPage`, in reading order."""
    text = page.get_text_range()
    places = _Places(page, text)
    return [
        Line(_shown(span), *places.bounds(first, last), places.letter_size(first), joined)
        for span, first, last, joined in _spans(text)
    ]


def page_words(page: Any) -> list[list[Word]]:
    """Return the words of each of a page's lines. It takes several times as long as the lines."""
    text = page.get_text_range()
    places = _Places(page, text)
    return [_words(span, first, places, joined) for span, first, _, joined in _spans(text)]


def _words(span: str, first: int, places: "_Places", joined: bool) -> list[Word]:
    words: list[Word] = []
    for found in _WORD.finditer(span):
        word = storable(found.group())
        start = first + _units(span[: found.start()])
        if word:
            bounds = places.bounds(start, start + _units(found.group()) - 1)
            words.append(Word(word, *bounds, joined and not words))
    return words


def _spans(text: str) -> Iterator[tuple[str, int, int, bool]]:
    """Yield each visible line of a page as it stands in its text, where its first and last characters are
    there, in UTF-16 code units, and whether it goes on with a word of the line before.
    """
    position, begun = 0, False
    for line in text.split(_LINE_END):
        parts = (line,) if line.isprintable() else _HYPHEN_MARK.split(line)
        for number, part in enumerate(parts):
            units, visible = _units(part), part.strip()
            if visible:
                # White space is one unit a character.
                first = position + len(part) - len(part.lstrip())
                last = position + units - len(part) + len(part.rstrip()) - 1
                if _shown(visible):
                    yield visible, first, last, begun and number > 0
                    begun = True
            position += units + 1
        position += len(_LINE_END) - 1


def _shown(text: str) -> str:
    return text if text.isprintable() else storable(text).strip()


def is_list_item(line: Line) -> bool:
    """Say whether a line begins an item of a list: with a bullet."""
    return line.text[0] in _BULLETS and len(line.text) > 1


def paragraphs(lines: Iterable[Line], pitch: float) -> Iterator[list[Line]]:
    """Yield lines that follow each other, grouped; `pitch` is that of their page."""
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

    def __init__(self, page: Any, text: str) -> None:
        self._page = page.raw
        # Mostly the text has every character that the page has, and places need no translation.
        self._translated = page.count_chars() != _units(text)
        self._box, self._other, self._matrix = raw.FS_RECTF(), raw.FS_RECTF(), raw.FS_MATRIX()
        self._box_at, self._other_at = byref(self._box), byref(self._other)
        self._matrix_at = byref(self._matrix)

    def bounds(self, first: int, last: int) -> Bounds:
        """Return the bounds of a line from those of its first and last characters."""
        if self._translated:
            first, last = self._index(first), self._index(last)
        one, other = self._box, self._other
        raw.FPDFText_GetLooseCharBox(self._page, first, self._box_at)
        raw.FPDFText_GetLooseCharBox(self._page, last, self._other_at)
        # Much faster than rounding to a digit.
        return (
            round(10 * min(one.left, other.left)) / 10,
            round(10 * min(one.bottom, other.bottom)) / 10,
            round(10 * max(one.right, other.right)) / 10,
            round(10 * max(one.top, other.top)) / 10,
        )

    def letter_size(self, position: int) -> float:
        """Return the size of a letter in points, to the half."""
        index = self._index(position) if self._translated else position
        # The size in the text operator counts only together with the matrix that scales it.
        found = raw.FPDFText_GetMatrix(self._page, index, self._matrix_at)
        scale = hypot(self._matrix.c, self._matrix.d) if found else 1.0
        size: float = raw.FPDFText_GetFontSize(self._page, index)
        return round(2 * scale * size) / 2

    def _index(self, position: int) -> int:
        index: int = raw.FPDFText_GetCharIndexFromTextIndex(self._page, position)
        return max(index, 0)


def _units(text: str) -> int:
    """Return the length of a text as PDFium counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def usual_pitch(lines: Sequence[Line]) -> float:
    """Return how far below one line the next one of a page mostly is, in points."""
    pitches = [above.top - below.top for above, below in pairwise(lines) if above.top > below.top]
    return median_low(pitches) if pitches else 0.0


def _parts(paragraph: Sequence[Line], line: Line, pitch: float) -> bool:
    above = paragraph[-1]
    if is_list_item(line):
        return True
    if max(above.size, line.size) > _SIZE_RATIO * min(above.size, line.size):
        return True
    if above.top - line.top > _GAP_RATIO * max(pitch, line.size):
        return True
    ended = above.text[-1] in _SENTENCE_ENDS
    # A line that stands higher begins the next column.
    return ended and (line.top > above.top + line.size or line.left > above.left + _INDENT * line.size)

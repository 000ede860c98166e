"""A document as text with structure: what every parser makes and the chunker reads."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from little_monster.platform.errors import ReadFailure

BlockKind = Literal["heading", "paragraph", "list", "table", "code"]
Part = Literal["tables", "figures", "formulas"]

# PostgreSQL stores no NUL, UTF-8 encodes no lone surrogate, and neither stands for anything a reader sees.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


Bounds = tuple[float, float, float, float]
"""Left, bottom, right and top, in PDF points from the lower left corner of the page."""


@dataclass(frozen=True, slots=True)
class Page:
    """Page `number` (1-based) is `text[start:end]`."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """`text[start:end]` is one paragraph, list item, table, code listing or heading of `level` (1 is the
    highest, 0 no heading).
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0


class Box(NamedTuple):
    """The line `text[start:end]`, or on a page that was recognised the paragraph, stands on page `page`
    (1-based) within these bounds, in PDF points from its lower left corner.
    """

    page: int
    start: int
    end: int
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class Tally:
    """How many were seen, and how many of them are in the text: a table as a table, a formula with all of its
    signs, a figure by what is said in its place.
    """

    seen: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class LossReport:
    """What a document had and what is left of it. `needs_ocr` are the numbers of pages that show something
    and have no text, `recognised` those whose text was recognised, if they had any, and `recognised_by` the
    strategy of `unstructured` that did it.
    """

    pages: Tally = Tally()
    tables: Tally = Tally()
    figures: Tally = Tally()
    formulas: Tally = Tally()
    needs_ocr: tuple[int, ...] = ()
    recognised: tuple[int, ...] = ()
    recognised_by: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The canonical text of a document. Offsets of pages, blocks, lines and chunks count its characters.

    Blocks are in order, do not overlap, begin and end with a visible character and leave out nothing but
    white space. `pages` is empty where the format has none; `page_count` is then None. `lines` are in order
    too, and empty where the format does not say where on a page a line stands. `textless_pages` are the
    numbers of pages without any text: scans, figures or blank pages. `date` is that of the last change that
    the file names, else of its making, as `YYYY-MM-DD`.
    """

    text: str
    blocks: tuple[Block, ...]
    pages: tuple[Page, ...] = ()
    lines: tuple[Box, ...] = ()
    title: str | None = None
    author: str | None = None
    date: str | None = None
    page_count: int | None = None
    textless_pages: tuple[int, ...] = ()
    report: LossReport = LossReport()


class DocumentBuilder:
    """Puts a document together block by block and keeps the offsets right."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._pages: list[Page] = []
        self._lines: list[Box] = []
        self._seen: Counter[Part] = Counter()
        self._kept: Counter[Part] = Counter()

    def add(self, kind: BlockKind, text: str, *, level: int = 0, page: int | None = None) -> None:
        """Append a block, of page `page` where the format has pages; a text without a visible character adds
        nothing.
        """
        text = storable(text).strip()
        if not text:
            return
        self._separate(kind)
        start = self._length
        self._append(text)
        self._blocks.append(Block(kind, start, self._length, level))
        if page is not None:
            self._extend_page(page, start)

    def add_lines(
        self, kind: BlockKind, lines: Sequence[tuple[str, Bounds, bool]], *, page: int, level: int = 0
    ) -> None:
        """Append a block of visible lines, each without white space at its ends, where they stand, and
        whether they go on with a word of the line before.
        """
        self._separate(kind)
        start = end = self._length
        parts = []
        for number, (text, bounds, joined) in enumerate(lines):
            if number and not joined:
                parts.append("\n")
                end += 1
            self._lines.append(Box(page, end, end + len(text), *bounds))
            parts.append(text)
            end += len(text)
        self._append("".join(parts))
        self._blocks.append(Block(kind, start, self._length, level))
        self._extend_page(page, start)

    def saw(self, part: Part, seen: int = 1, *, kept: int = 0) -> None:
        """Note, for the report, what is in the document besides its text."""
        self._seen[part] += seen
        self._kept[part] += kept

    def build(
        self,
        *,
        title: str | None = None,
        author: str | None = None,
        date: str | None = None,
        page_count: int | None = None,
        textless_pages: Sequence[int] = (),
        needs_ocr: Sequence[int] = (),
        recognised: Sequence[int] = (),
        recognised_by: str | None = None,
    ) -> ParsedDocument:
        """Return the document.

        Raises:
            ReadFailure: `no_text`, nothing was added.
        """
        if not self._blocks:
            raise ReadFailure("no_text", "The document contains no text.")
        return ParsedDocument(
            text="".join(self._parts),
            blocks=tuple(self._blocks),
            pages=tuple(self._pages),
            lines=tuple(self._lines),
            title=one_line(title),
            author=one_line(author),
            date=date,
            page_count=page_count,
            textless_pages=tuple(textless_pages),
            report=LossReport(
                pages=Tally(page_count or 0, (page_count or 0) - len(textless_pages)),
                tables=self._tally("tables"),
                figures=self._tally("figures"),
                formulas=self._tally("formulas"),
                needs_ocr=tuple(needs_ocr),
                recognised=tuple(recognised),
                recognised_by=recognised_by,
            ),
        )

    def first_heading(self) -> str | None:
        """Return the text of the first heading of the highest level."""
        headings = [block for block in self._blocks if block.kind == "heading"]
        if not headings:
            return None
        top = min(headings, key=lambda block: block.level)
        return "".join(self._parts)[top.start : top.end]

    def _tally(self, part: Part) -> Tally:
        return Tally(self._seen[part], min(self._kept[part], self._seen[part]))

    def _separate(self, kind: BlockKind) -> None:
        if self._blocks:
            self._append("\n" if kind == self._blocks[-1].kind == "list" else "\n\n")

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _extend_page(self, number: int, start: int) -> None:
        if self._pages and self._pages[-1].number == number:
            start = self._pages.pop().start
        self._pages.append(Page(number, start, self._length))


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL or UTF-8 cannot hold."""
    return _UNSTORABLE.sub("", text)


def one_line(text: str | None, *, limit: int = 300) -> str | None:
    """Return `text` on one line of at most `limit` characters, None when nothing is left."""
    return " ".join(storable(text or "").split())[:limit].strip() or None

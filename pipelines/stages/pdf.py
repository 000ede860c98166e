"""PDF files, through PDFium: the text path, without rendering."""

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pypdfium2

from little_monster.pipelines.stages.document import BlockKind, DocumentBuilder, ParsedDocument, one_line
from little_monster.pipelines.stages.formulas import formulas_in
from little_monster.pipelines.stages.lines import (
    Line,
    is_list_item,
    page_lines,
    page_words,
    paragraphs,
    usual_pitch,
)
from little_monster.pipelines.stages.ocr import Recognised
from little_monster.pipelines.stages.page_tables import Lines, Table, page_parts
from little_monster.pipelines.stages.partition import add_elements
from little_monster.pipelines.stages.pictures import Shown, shown_on
from little_monster.pipelines.stages.rulings import drawn_on
from little_monster.platform.errors import ReadFailure

Recognise = Callable[[bytes, Sequence[int]], Recognised]
"""Recognises the text on pages (1-based) of a PDF."""

# PDFium keeps global state and is not thread safe.
_PDFIUM = threading.Lock()

# The end mark stands within the last kilobyte of a whole file (ISO 32000-1, 7.5.5); some writers put more
# behind it.
_END_MARK, _TAIL = b"%%EOF", 4096
_PASSWORD_ERROR = 4

# Pages of a document that are searched for tables: it takes several times as long as reading them, and a
# process has its time.
MOST_SEARCHED = 1_500

# ISO 32000-1, 7.9.4.
_DATE = re.compile(r"(?:D:)?(\d{4})(\d{2})(\d{2})")

_CAPTION = re.compile(r"(?:Table|Tabelle|Tableau|Tabla|Tabela|Tabella)\s+([A-Z]?\d+(?:[.-]\d+)*)\b")

# A caption begins at most this many lines above its table.
_CAPTION_LINES = 4

_HEADING_RATIO = 1.15
_HEADING_CHARS = 200
_HEADING_LEVELS = 6


@dataclass(frozen=True, slots=True)
class _Page:
    number: int
    parts: Sequence[Lines | Table]
    shown: Shown

    @property
    def lines(self) -> list[Line]:
        return [line for part in self.parts if not isinstance(part, Table) for line in part]

    @property
    def needs_ocr(self) -> bool:
        return not self.parts and self.shown.anything


def parse_pdf(content: bytes, *, max_pages: int, recognise: Recognise | None = None) -> ParsedDocument:
    """Read the text of a PDF, with its pages. Lines set larger than the body are headings.

    Args:
        content: of the file.
        max_pages: most pages that it may have.
        recognise: reads the pages that show something and have no text; None: they are named in the report.

    Raises:
        ReadFailure: `pdf_encrypted`, `pdf_damaged`, `too_many_pages`; `no_text` for a scan.
    """
    with _PDFIUM, closing(_open(content)) as pdf:
        if len(pdf) > max_pages:
            raise ReadFailure(
                "too_many_pages", f"The PDF has more than {max_pages} pages; upload it in parts."
            )
        pages = deque(_pages(pdf))
        metadata = pdf.get_metadata_dict()
    scans = [page.number for page in pages if page.needs_ocr]
    return _document(pages, metadata, recognise(content, scans) if recognise and scans else None)


def _open(content: bytes) -> pypdfium2.PdfDocument:
    try:
        pdf = pypdfium2.PdfDocument(content)
        pages = len(pdf)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD_ERROR:
            raise ReadFailure("pdf_encrypted", "The PDF has a password; save it without one.") from None
        raise _damaged() from None
    # PDFium repairs a file that was cut off and shows the pages that are left: half a book would pass as the
    # whole.
    if not pages or _END_MARK not in content[-_TAIL:]:
        pdf.close()
        raise _damaged()
    return pdf


def _pages(pdf: pypdfium2.PdfDocument) -> Iterator[_Page]:
    searched = 0
    for number in range(len(pdf)):
        try:
            with closing(pdf[number]) as page, closing(page.get_textpage()) as text:
                shown, lines = shown_on(page), page_lines(text)
                parts: list[Lines | Table] = [lines] if lines else []
                if searched < MOST_SEARCHED and _may_have_tables(page, lines, shown):
                    searched += 1
                    parts = _parts(page, text, lines)
                yield _Page(number + 1, parts, shown)
        except pypdfium2.PdfiumError:
            raise _damaged() from None


def _may_have_tables(page: Any, lines: Lines, shown: Shown) -> bool:
    """Say whether there is a drawing or a caption on a page, beside text; not of one that is shown turned."""
    return bool(lines) and (shown.paths > 0 or any(map(_caption, lines))) and not page.get_rotation()


def _parts(page: Any, text: Any, lines: Lines) -> list[Lines | Table]:
    """Return the lines of a page, and the tables in their place."""
    drawn = drawn_on(page)
    captions = [at for at, line in enumerate(lines) if _caption(line)]
    return page_parts(lines, page_words(text), drawn, captions) if any(drawn) or captions else [lines]


def _document(pages: deque[_Page], metadata: Mapping[str, Any], seen: Recognised | None) -> ParsedDocument:
    """Make the document; `pages` is empty then: what is used up would be held beside what is made of it."""
    recognised = seen.pages if seen else {}
    count, levels, builder = len(pages), _heading_levels(pages), DocumentBuilder()
    textless = [page.number for page in pages if not page.parts and not recognised.get(page.number)]
    if len(textless) == count:
        raise _no_text(looked=seen is not None)
    needs_ocr = [page.number for page in pages if page.needs_ocr and page.number not in recognised]
    builder.saw("tables", **_tables(pages))
    while pages:
        page = pages.popleft()
        builder.saw("figures", page.shown.figures)
        if page.number in recognised:
            add_elements(builder, recognised[page.number], page=page.number)
        else:
            _add_page(builder, page, levels)
    return builder.build(
        title=one_line(metadata.get("Title")) or builder.first_heading(),
        author=metadata.get("Author"),
        date=_day(metadata.get("ModDate")) or _day(metadata.get("CreationDate")),
        page_count=count,
        textless_pages=textless,
        needs_ocr=needs_ocr,
        recognised=sorted(recognised),
        recognised_by=seen.strategy if seen else None,
    )


def _add_page(builder: DocumentBuilder, page: _Page, levels: Mapping[float, int]) -> None:
    pitch = usual_pitch(page.lines)
    for part in page.parts:
        if isinstance(part, Table):
            builder.add_lines("table", [(*row, False) for row in part.rows], page=page.number)
            texts = [text for text, _ in part.rows]
        else:
            _add_lines(builder, page.number, paragraphs(part, pitch), levels)
            texts = [line.text for line in part]
        seen, kept = formulas_in(texts)
        builder.saw("formulas", seen, kept=kept)


def _add_lines(
    builder: DocumentBuilder, page: int, grouped: Iterable[Sequence[Line]], levels: Mapping[float, int]
) -> None:
    for paragraph in grouped:
        length = sum(len(line.text) + 1 for line in paragraph) - 1
        level = levels.get(paragraph[0].size, 0) if length <= _HEADING_CHARS else 0
        kind: BlockKind = "heading" if level else "list" if is_list_item(paragraph[0]) else "paragraph"
        placed = [(line.text, line[1:5], line.joined) for line in paragraph]
        builder.add_lines(kind, placed, page=page, level=level)


def _tables(pages: Iterable[_Page]) -> dict[str, int]:
    """Return how many tables were seen, by captions and in themselves, and how many are kept. A table whose
    caption stands beside it is one; a caption without, or only the words of its table, is one that is lost.
    """
    numbers: set[str] = set()
    kept = unnumbered = 0
    for page in pages:
        captions = [[] if isinstance(part, Table) else [*map(_caption, part)] for part in page.parts]
        numbers.update(number for part in captions for number in part if number)
        for part, before, after in zip(page.parts, [[], *captions], [*captions[1:], []], strict=False):
            if isinstance(part, Table):
                kept += 1
                unnumbered += not any((*before[-_CAPTION_LINES:], *after[:1]))
    return {"seen": len(numbers) + unnumbered, "kept": kept}


def _caption(line: Line) -> str | None:
    """Return the number of the table whose caption a line begins."""
    found = _CAPTION.match(line.text) if line.text[0] == "T" else None
    return found.group(1) if found else None


def _heading_levels(pages: Iterable[_Page]) -> dict[float, int]:
    """Return the level of each font size (points) that is larger than that of the most text."""
    characters: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            characters[line.size] += len(line.text)
    if not characters:
        return {}
    body = characters.most_common(1)[0][0]
    sizes = sorted((size for size in characters if size >= _HEADING_RATIO * body), reverse=True)
    return {size: min(rank, _HEADING_LEVELS) for rank, size in enumerate(sizes, start=1)}


def _day(date: str | None) -> str | None:
    found = _DATE.match(date or "")
    return "-".join(found.groups()) if found else None


def _no_text(*, looked: bool) -> ReadFailure:
    reason = "it looks scanned and needs text recognition (OCR) first."
    if looked:
        reason = "none was recognised in its pictures either."
    return ReadFailure("no_text", f"No page of the PDF has text: {reason}")


def _damaged() -> ReadFailure:
    return ReadFailure("pdf_damaged", "The PDF is damaged or incomplete; download or export it again.")

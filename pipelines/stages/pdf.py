"""PDF files, through PDFium: the text path, without rendering."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pypdfium2

from little_monster.pipelines.stages.document import BlockKind, DocumentBuilder, ParsedDocument, one_line
from little_monster.pipelines.stages.formulas import formulas_in
from little_monster.pipelines.stages.lines import Line, is_list_item, page_lines, paragraphs
from little_monster.pipelines.stages.ocr import Recognised
from little_monster.pipelines.stages.partition import add_elements
from little_monster.pipelines.stages.pictures import Shown, shown_on
from little_monster.platform.errors import ReadFailure

Recognise = Callable[[bytes, Sequence[int]], Recognised]
"""Recognises the text on pages (1-based) of a PDF."""

# PDFium keeps global state and is not thread safe.
_PDFIUM = threading.Lock()

# The end mark stands within the last kilobyte of a whole file (ISO 32000-1, 7.5.5); some writers put more
# behind it.
_END_MARK, _TAIL = b"%%EOF", 4096
_PASSWORD_ERROR = 4

# ISO 32000-1, 7.9.4.
_DATE = re.compile(r"(?:D:)?(\d{4})(\d{2})(\d{2})")

_CAPTION = re.compile(r"(?:Table|Tabelle|Tableau|Tabla|Tabela|Tabella)\s+([A-Z]?\d+(?:[.-]\d+)*)\b")

_HEADING_RATIO = 1.15
_HEADING_CHARS = 200
_HEADING_LEVELS = 6


@dataclass(frozen=True, slots=True)
class _Page:
    number: int
    lines: list[Line]
    shown: Shown

    @property
    def needs_ocr(self) -> bool:
        return not self.lines and self.shown.anything


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
        pages = list(_pages(pdf))
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
    for number in range(len(pdf)):
        try:
            with closing(pdf[number]) as page, closing(page.get_textpage()) as text:
                yield _Page(number + 1, page_lines(text), shown_on(page))
        except pypdfium2.PdfiumError:
            raise _damaged() from None


def _document(pages: Sequence[_Page], metadata: Mapping[str, Any], seen: Recognised | None) -> ParsedDocument:
    recognised = seen.pages if seen else {}
    levels = _heading_levels(pages)
    builder = DocumentBuilder()
    for page in pages:
        builder.saw("figures", page.shown.figures)
        if page.number in recognised:
            add_elements(builder, recognised[page.number], page=page.number)
        else:
            _add_page(builder, page, levels)
    builder.saw("tables", _captions(pages))
    textless = [page.number for page in pages if not page.lines and not recognised.get(page.number)]
    if len(textless) == len(pages):
        raise _no_text(looked=seen is not None)
    return builder.build(
        title=one_line(metadata.get("Title")) or builder.first_heading(),
        author=metadata.get("Author"),
        date=_day(metadata.get("ModDate")) or _day(metadata.get("CreationDate")),
        page_count=len(pages),
        textless_pages=textless,
        needs_ocr=[page.number for page in pages if page.needs_ocr and page.number not in recognised],
        recognised=sorted(recognised),
        recognised_by=seen.strategy if seen else None,
    )


def _add_page(builder: DocumentBuilder, page: _Page, levels: Mapping[float, int]) -> None:
    for paragraph in paragraphs(page.lines):
        length = sum(len(line.text) + 1 for line in paragraph) - 1
        level = levels.get(paragraph[0].size, 0) if length <= _HEADING_CHARS else 0
        kind: BlockKind = "heading" if level else "list" if is_list_item(paragraph[0]) else "paragraph"
        placed = [(line.text, line[1:5], line.joined) for line in paragraph]
        builder.add_lines(kind, placed, page=page.number, level=level)
    seen, kept = formulas_in(line.text for line in page.lines)
    builder.saw("formulas", seen, kept=kept)


def _captions(pages: Sequence[_Page]) -> int:
    """Return how many tables the captions of a document number. Their words are in its text as lines; which
    cell is below which is not.
    """
    found = (_CAPTION.match(line.text) for page in pages for line in page.lines if line.text[0] == "T")
    return len({caption.group(1) for caption in found if caption})


def _heading_levels(pages: Sequence[_Page]) -> dict[float, int]:
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

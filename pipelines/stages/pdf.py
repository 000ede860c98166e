"""PDF files, through PDFium: the text path, without rendering."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pypdfium2

from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument, one_line
from little_monster.pipelines.stages.lines import Line, page_lines, paragraphs
from little_monster.platform.errors import ReadFailure

# PDFium keeps global state and is not thread safe.
_PDFIUM = threading.Lock()

# The end mark stands within the last kilobyte of a whole file (ISO 32000-1, 7.5.5); some writers put more
# behind it.
_END_MARK, _TAIL = b"%%EOF", 4096
_PASSWORD_ERROR = 4

_HEADING_RATIO = 1.15
_HEADING_CHARS = 200
_HEADING_LEVELS = 6


def parse_pdf(content: bytes, *, max_pages: int) -> ParsedDocument:
    """Read the text of a PDF, with its pages. Lines set larger than the body are headings.

    Raises:
        ReadFailure: `pdf_encrypted`, `pdf_damaged`, `too_many_pages`; `no_text` for a scan.
    """
    with _PDFIUM, closing(_open(content)) as pdf:
        if len(pdf) > max_pages:
            raise ReadFailure("too_many_pages", f"The PDF has more than {max_pages} pages.")
        pages = list(_pages(pdf))
        metadata = pdf.get_metadata_dict()
    return _document(pages, metadata)


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


def _pages(pdf: pypdfium2.PdfDocument) -> Iterator[list[Line]]:
    for number in range(len(pdf)):
        try:
            with closing(pdf[number]) as page, closing(page.get_textpage()) as text:
                yield page_lines(text)
        except pypdfium2.PdfiumError:
            raise _damaged() from None


def _document(pages: list[list[Line]], metadata: dict[str, Any]) -> ParsedDocument:
    levels = _heading_levels(pages)
    builder = DocumentBuilder()
    for number, lines in enumerate(pages, start=1):
        for paragraph in paragraphs(lines):
            length = sum(len(line.text) + 1 for line in paragraph) - 1
            level = levels.get(paragraph[0].size, 0) if length <= _HEADING_CHARS else 0
            placed = [(line.text, line[1:5]) for line in paragraph]
            builder.add_lines("heading" if level else "paragraph", placed, page=number, level=level)
    textless = [number for number, lines in enumerate(pages, start=1) if not lines]
    if len(textless) == len(pages):
        raise ReadFailure(
            "no_text", "No page of the PDF has text: it looks scanned and needs text recognition (OCR) first."
        )
    return builder.build(
        title=one_line(metadata.get("Title")) or builder.first_heading(),
        author=metadata.get("Author"),
        page_count=len(pages),
        textless_pages=textless,
    )


def _heading_levels(pages: list[list[Line]]) -> dict[float, int]:
    """Return the level of each font size (points) that is larger than that of the most text."""
    characters: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            characters[line.size] += len(line.text)
    if not characters:
        return {}
    body = characters.most_common(1)[0][0]
    sizes = sorted((size for size in characters if size >= _HEADING_RATIO * body), reverse=True)
    return {size: min(rank, _HEADING_LEVELS) for rank, size in enumerate(sizes, start=1)}


def _damaged() -> ReadFailure:
    return ReadFailure("pdf_damaged", "The PDF is damaged or incomplete; download or export it again.")

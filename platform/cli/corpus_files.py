"""Texts of a dataset as files, as a student has them: a title as a heading, and paragraphs."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

from little_monster.platform.errors import ConfigurationError
from little_monster.platform.services.evaluation.dataset import Entry

# Fixed, so that a file tells nothing of when it was written.
_DATE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_BLANK_LINES: Final = re.compile(r"\n\s*\n")
# XML has no place for them, nor has a page.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_MARKS: Final = re.compile(r"([\\`*_{}\[\]#~|])")
# What begins a list or a quotation, where it begins a line.
_LINE_MARKS: Final = re.compile(r"^(\s*)([-+>=]|\d+(?=[.)]))", re.MULTILINE)


class CorpusFormat(StrEnum):
    """Kinds of file that a text can be written as; the value is the suffix."""

    TXT = "txt"
    MARKDOWN = "md"
    DOCX = "docx"
    PDF = "pdf"


def write_file(entry: Entry, kind: CorpusFormat) -> bytes:
    """Return the file of a text.

    Raises:
        ConfigurationError: `fpdf2` and `font-roboto`, which write PDF, are not installed.
    """
    title, text = (_CONTROL.sub(" ", part).strip() for part in (entry.title, entry.text))
    return _WRITERS[kind](" ".join(title.split()), [one.strip() for one in _BLANK_LINES.split(text)])


def _txt(title: str, paragraphs: list[str]) -> bytes:
    return "\n\n".join([title, *paragraphs] if title else paragraphs).encode()


def _markdown(title: str, paragraphs: list[str]) -> bytes:
    blocks = [_escaped(one) for one in paragraphs]
    return "\n\n".join([f"# {_escaped(title)}", *blocks] if title else blocks).encode()


def _escaped(text: str) -> str:
    """Return Markdown that shows the text as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = _MARKS.sub(r"\\\1", text)
    return _LINE_MARKS.sub(
        lambda mark: (
            mark[1] + (f"{mark[2]}\\" if mark[2].isdigit() else {">": "&gt;"}.get(mark[2], f"\\{mark[2]}"))
        ),
        text,
    )


def _docx(title: str, paragraphs: list[str]) -> bytes:
    # Here, as every verb would wait for it.
    from docx import Document

    document = Document()
    document.core_properties.created = document.core_properties.modified = _DATE.replace(tzinfo=None)
    if title:
        document.add_heading(title, 1)
    for one in paragraphs:
        document.add_paragraph(one)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _pdf(title: str, paragraphs: list[str]) -> bytes:
    """Write A4. A character that the font has not becomes a question mark."""
    pdf, known = _empty_pdf()
    for size, text in [(18, title), *((11, one) for one in paragraphs)]:
        pdf.set_font("Roboto", size=size)
        shown = "".join(one if one.isspace() or ord(one) in known else "?" for one in text)
        if shown:
            pdf.multi_cell(0, size * 0.5, shown, new_x="LMARGIN", new_y="NEXT", align="L")
            pdf.ln(3)
    return bytes(pdf.output())


def _empty_pdf() -> tuple[Any, Any]:
    """Return a PDF with one page, and the characters that its font has."""
    try:
        from fpdf import FPDF

        font = files("font_roboto") / "files" / "Roboto-Regular.ttf"
    except ImportError:
        raise ConfigurationError(
            "--format pdf: needs fpdf2 and font-roboto: pip install 'little-monster[evaluation]'"
        ) from None
    pdf = FPDF(format="A4")
    pdf.set_creation_date(_DATE)
    pdf.set_margin(25)
    pdf.add_font("Roboto", fname=str(font))
    pdf.add_page()
    return pdf, pdf.fonts["roboto"].cmap


_WRITERS: Final[dict[CorpusFormat, Callable[[str, list[str]], bytes]]] = {
    CorpusFormat.TXT: _txt,
    CorpusFormat.MARKDOWN: _markdown,
    CorpusFormat.DOCX: _docx,
    CorpusFormat.PDF: _pdf,
}

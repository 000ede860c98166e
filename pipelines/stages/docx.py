"""Word documents (Office Open XML)."""

import io
from importlib import import_module
from typing import Any

from little_monster.pipelines.stages.archives import open_archive
from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.office import CONTENT_TYPES, check_password, date_of
from little_monster.pipelines.stages.omml import linear
from little_monster.pipelines.stages.partition import add_elements, failing_as, partition, text_of
from little_monster.platform.errors import ReadFailure

_FIGURES = "//*[local-name() = 'drawing' or local-name() = 'pict' or local-name() = 'object']"
_FORMULAS = "//*[local-name() = 'oMath']"
_SPACES = {
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
    "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
}
_FORMULA_PARAGRAPHS = "//*[local-name() = 'oMathPara']"


def parse_docx(content: bytes) -> ParsedDocument:
    """Read a Word document. Its pages are those that Word marked when it last laid it out, if it did.

    Raises:
        ReadFailure: `docx_encrypted`, `docx_damaged`, `docx_too_large`, `no_text`.
    """
    check_password(content, "docx")
    open_archive(content, kind="docx", needs=CONTENT_TYPES, damaged=_damaged).close()
    builder = DocumentBuilder()
    with failing_as(_damaged):
        document = import_module("docx").Document(io.BytesIO(content))
        formulas = _write_formulas(document.element.body)
        if formulas:
            content = _saved(document)
    elements = partition("docx", _damaged, file=io.BytesIO(content))
    add_elements(builder, elements)
    with failing_as(_damaged):
        properties = document.core_properties
        text = " ".join(" ".join(text_of(element).split()) for element in elements)
        builder.saw("figures", len(document.element.body.xpath(_FIGURES)))
        builder.saw("formulas", len(formulas), kept=sum(1 for formula in formulas if formula in text))
        return builder.build(
            title=properties.title or builder.first_heading(),
            author=properties.author,
            date=date_of(properties),
            page_count=_page_count(elements),
        )


def _write_formulas(body: Any) -> list[str]:
    """Put the text of each formula in its place, as a run: the library reads no other. Return the texts."""
    oxml, texts = import_module("docx.oxml"), []
    for formula in body.xpath(_FORMULAS):
        texts.append(" ".join(linear(formula).split()))
        run = oxml.OxmlElement("w:r")
        # Those that stand together have a line each.
        in_a_row = formula.xpath(
            "boolean(parent::m:oMathPara and preceding-sibling::w:r)", namespaces=_SPACES
        )
        run.text = "\n" * in_a_row + texts[-1]
        formula.getparent().replace(formula, run)
    for paragraph in body.xpath(_FORMULA_PARAGRAPHS):
        for run in paragraph.xpath("./w:r", namespaces=_SPACES):
            paragraph.addprevious(run)
        paragraph.getparent().remove(paragraph)
    return texts


def _saved(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _page_count(elements: list[Any]) -> int | None:
    return max((element.metadata.page_number or 0 for element in elements), default=0) or None


def _damaged() -> ReadFailure:
    return ReadFailure("docx_damaged", "The file is not a Word document (.docx), or it is damaged.")

"""Word documents (Office Open XML)."""

import io
from importlib import import_module
from typing import Any

from little_monster.pipelines.stages.archives import open_archive
from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.office import CONTENT_TYPES, check_password, date_of
from little_monster.pipelines.stages.partition import add_elements, failing_as, partition
from little_monster.platform.errors import ReadFailure

_FIGURES = "//*[local-name() = 'drawing' or local-name() = 'pict' or local-name() = 'object']"
_FORMULAS = "//*[local-name() = 'oMath']"


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
    elements = partition("docx", _damaged, file=io.BytesIO(content))
    add_elements(builder, elements)
    with failing_as(_damaged):
        body, properties = document.element.body, document.core_properties
        builder.saw("figures", len(body.xpath(_FIGURES)))
        builder.saw("formulas", len(body.xpath(_FORMULAS)))
        return builder.build(
            title=properties.title or builder.first_heading(),
            author=properties.author,
            date=date_of(properties),
            page_count=_page_count(elements),
        )


def _page_count(elements: list[Any]) -> int | None:
    return max((element.metadata.page_number or 0 for element in elements), default=0) or None


def _damaged() -> ReadFailure:
    return ReadFailure("docx_damaged", "The file is not a Word document (.docx), or it is damaged.")

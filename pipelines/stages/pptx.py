"""PowerPoint presentations (Office Open XML): a slide is a page."""

import io
from importlib import import_module
from typing import Any

from little_monster.pipelines.stages.archives import open_archive
from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.office import CONTENT_TYPES, check_password, date_of
from little_monster.pipelines.stages.partition import add_elements, failing_as, partition
from little_monster.platform.errors import ReadFailure

_FIGURES = "//p:pic | //p:graphicFrame[.//*[local-name() = 'chart' or local-name() = 'relIds']]"
_FORMULAS = "//*[local-name() = 'oMath']"


def parse_pptx(content: bytes) -> ParsedDocument:
    """Read a presentation, with the notes of its speaker. The titles of slides are its headings.

    Raises:
        ReadFailure: `pptx_encrypted`, `pptx_damaged`, `pptx_too_large`, `no_text`.
    """
    check_password(content, "pptx")
    open_archive(content, kind="pptx", needs=CONTENT_TYPES, damaged=_damaged).close()
    builder = DocumentBuilder()
    with failing_as(_damaged):
        slides = import_module("pptx").Presentation(io.BytesIO(content))
    elements = partition("pptx", _damaged, file=io.BytesIO(content), include_slide_notes=True)
    # Short texts beside the title of a slide are taken for titles too.
    add_elements(builder, elements, levels=1)
    with failing_as(_damaged):
        return _build(builder, slides, elements)


def _build(builder: DocumentBuilder, slides: Any, elements: list[Any]) -> ParsedDocument:
    shown = set()
    for number, slide in enumerate(slides.slides, start=1):
        figures = len(slide.element.xpath(_FIGURES))
        builder.saw("figures", figures)
        builder.saw("formulas", len(slide.element.xpath(_FORMULAS)))
        shown |= {number} if figures else set()
    with_text = {element.metadata.page_number for element in elements if element.text.strip()}
    textless = [number for number in range(1, len(slides.slides) + 1) if number not in with_text]
    properties = slides.core_properties
    return builder.build(
        title=properties.title or builder.first_heading(),
        author=properties.author,
        date=date_of(properties),
        page_count=len(slides.slides),
        textless_pages=textless,
        needs_ocr=[number for number in textless if number in shown],
    )


def _damaged() -> ReadFailure:
    return ReadFailure("pptx_damaged", "The file is not a presentation (.pptx), or it is damaged.")

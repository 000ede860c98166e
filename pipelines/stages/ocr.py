"""Recognises the text of scanned pages with `unstructured` and its models (`hi_res`), which the extra `ocr`
brings, and Tesseract, which the system does.

Nothing is fetched: the weights of the layout model must be in the cache of Hugging Face (`HF_HOME`).
"""

import io
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

import pypdfium2

from little_monster.pipelines.stages.partition import partition
from little_monster.platform.errors import ReadFailure

FILE_TYPE: Final = "pdf+ocr"
"""The type by which `parse` is asked to recognise what a PDF shows without text."""


@lru_cache(maxsize=1)
def is_installed() -> bool:
    """Say whether text can be recognised here."""
    return find_spec("unstructured_inference") is not None and shutil.which("tesseract") is not None


def recognise(content: bytes, pages: Sequence[int]) -> Mapping[int, Sequence[Any]]:
    """Return the elements that are seen on these pages (1-based) of a PDF, by page.

    Raises:
        ReadFailure: `ocr_failed`.
    """
    elements = partition(
        "pdf",
        _failed,
        file=io.BytesIO(_extract(content, pages)),
        strategy="hi_res",
        infer_table_structure=True,
    )
    found = defaultdict(list)
    for element in elements:
        if (element.text or "").strip():
            found[pages[(element.metadata.page_number or 1) - 1]].append(element)
    return found


def _extract(content: bytes, pages: Sequence[int]) -> bytes:
    with closing(pypdfium2.PdfDocument(content)) as whole, closing(pypdfium2.PdfDocument.new()) as part:
        part.import_pages(whole, [number - 1 for number in pages])
        file = io.BytesIO()
        part.save(file)
    return file.getvalue()


def _failed() -> ReadFailure:
    return ReadFailure(
        "ocr_failed", "The text of the scanned pages could not be recognised; scan them again more sharply."
    )

"""What a PDF page shows besides text."""

from ctypes import byref, c_float
from dataclasses import dataclass
from typing import Any

from pypdfium2 import raw

from little_monster.pipelines.stages.document import Bounds

# Smaller pictures, in points on a side, are bullets, rules and ornaments.
_LEAST_SIDE = 36.0
# A drawing can have hundreds of thousands of parts.
MOST_OBJECTS = 5_000


@dataclass(frozen=True, slots=True)
class Shown:
    """Whether a page shows anything at all, how many pictures, and how many drawn lines and shapes."""

    anything: bool
    figures: int
    paths: int


def shown_on(page: Any) -> Shown:
    """Look at the objects of a `pypdfium2.PdfPage`."""
    count = raw.FPDFPage_CountObjects(page.raw)
    figures = paths = 0
    for index in range(min(count, MOST_OBJECTS)):
        shape = raw.FPDFPage_GetObject(page.raw, index)
        kind = raw.FPDFPageObj_GetType(shape)
        if kind == raw.FPDF_PAGEOBJ_PATH:
            paths += 1
        elif kind == raw.FPDF_PAGEOBJ_IMAGE and _is_large(shape):
            figures += 1
    return Shown(count > 0, figures, paths)


def bounds_of(shape: Any) -> Bounds:
    """Return the bounds of an object of a page, with the width of its lines."""
    left, bottom, right, top = c_float(), c_float(), c_float(), c_float()
    raw.FPDFPageObj_GetBounds(shape, byref(left), byref(bottom), byref(right), byref(top))
    return left.value, bottom.value, right.value, top.value


def _is_large(shape: Any) -> bool:
    left, bottom, right, top = bounds_of(shape)
    return right - left >= _LEAST_SIDE and top - bottom >= _LEAST_SIDE

"""Recognises the text of scanned pages with `unstructured`, which the extra `ocr` brings, and Tesseract,
which the system does.

Of its strategies `hi_res` also finds the parts of a page, by a model of layouts (YOLOX) whose weights must be
in the cache of Hugging Face (`HF_HOME`): nothing is fetched. Where they are not, `ocr_only` takes the parts
that Tesseract itself sees, which needs no weights.
"""

import io
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

import pypdfium2
from PIL import Image, ImageDraw

from little_monster.pipelines.stages.partition import partition
from little_monster.platform.errors import ReadFailure

FILE_TYPE: Final = "pdf+ocr"
"""The type by which `parse` is asked to recognise what a PDF shows without text."""
BUDGET_S: Final = 220.0
"""Seconds after which no further page is begun: what is read by then counts, and the rest stays named."""

Strategy = Literal["hi_res", "ocr_only"]

_LIBRARIES: Final = ("unstructured_inference", "unstructured_pytesseract", "pi_heif", "pdfminer")
_WEIGHTS: Final = ("unstructuredio/yolo_x_layout", "yolox_l0.05.onnx")
_LANGUAGE: Final = "eng"
# On scans of 100 to 200 dots an inch 200 read no worse than 300, in two thirds of the time.
_DOTS_PER_POINT: Final = 200 / 72
_MAX_PIXELS: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was seen on pages (1-based): elements of `unstructured` with coordinates in points of the page."""

    strategy: Strategy
    pages: Mapping[int, Sequence[Any]]


@lru_cache(maxsize=1)
def is_installed() -> bool:
    """Say whether text can be recognised here."""
    return all(map(find_spec, _LIBRARIES)) and shutil.which("tesseract") is not None


def preload() -> None:
    """Load the libraries, with all that they load with their first page, but no model of layouts: it would
    start threads."""
    picture = Image.new("RGB", (600, 100), "white")
    ImageDraw.Draw(picture).text((20, 20), "A cell has a nucleus, and it divides.", "black", font_size=24)
    _partition(picture, "ocr_only")
    _strategy()


def recognise(content: bytes, pages: Sequence[int]) -> Recognised:
    """Return the elements that are seen on these pages (1-based) of a PDF, as many as there is time for.

    Raises:
        ReadFailure: `ocr_failed`.
    """
    strategy, deadline = _strategy(), time.monotonic() + BUDGET_S
    found: dict[int, Sequence[Any]] = {}
    with closing(pypdfium2.PdfDocument(content)) as pdf:
        for number in pages:
            if time.monotonic() > deadline:
                break
            with closing(pdf[number - 1]) as page:
                found[number] = list(_elements(page, strategy))
    return Recognised(strategy, found)


def _elements(page: pypdfium2.PdfPage, strategy: Strategy) -> Iterator[Any]:
    with closing(page.render(scale=_scale(page))) as bitmap:
        to_page = bitmap.get_posconv(page).to_page
        elements = _partition(bitmap.to_pil(), strategy)
    for element in elements:
        if (element.text or "").strip():
            yield _placed(element, to_page)


def _partition(picture: Image.Image, strategy: Strategy) -> list[Any]:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "PNG", compress_level=1)
    file.seek(0)
    return partition("image", _failed, file=file, strategy=strategy, languages=_languages())


def _scale(page: pypdfium2.PdfPage) -> float:
    width, height = page.get_size()
    return min(_DOTS_PER_POINT, math.sqrt(_MAX_PIXELS / max(width * height, 1.0)))


def _placed(element: Any, to_page: Any) -> Any:
    """Turn the coordinates of an element from pixels into points of the page."""
    seen = element.metadata.coordinates
    if seen is not None:
        seen.points = tuple(to_page(round(x), round(y)) for x, y in seen.points)
    return element


@lru_cache(maxsize=1)
def _strategy() -> Strategy:
    """Return how pages are recognised here, everything prepared for it that a confined process cannot do."""
    from huggingface_hub import try_to_load_from_cache

    # It is a path, or a mark of what is known to be missing.
    weights = try_to_load_from_cache(*_WEIGHTS)
    if not isinstance(weights, str):
        return "ocr_only"
    # They look for a folder to keep compiled code in.
    import_module("unstructured.partition.pdf_image.analysis.tools")
    models, yolox = (import_module(f"unstructured_inference.models.{name}") for name in ("base", "yolox"))
    # By its path, as the library would ask the hub where its file is.
    known = {models.DEFAULT_MODEL: {"model_path": weights, "label_map": yolox.YOLOX_LABEL_MAP}}
    models.register_new_model(known, yolox.UnstructuredYoloXModel)
    return "hi_res"


@lru_cache(maxsize=1)
def _languages() -> list[str]:
    """Return the languages that Tesseract has been given, English first."""
    known = import_module("unstructured_pytesseract").get_languages()
    # `osd` finds out how a page is turned, and `script/...` are no languages.
    others = (name for name in known if name not in (_LANGUAGE, "osd") and "/" not in name)
    return [_LANGUAGE, *others]


def _failed() -> ReadFailure:
    return ReadFailure(
        "ocr_failed", "The text of the scanned pages could not be recognised; scan them again more sharply."
    )

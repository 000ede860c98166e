"""The process that renders one page: it limits itself, reads a PDF from its standard input, writes the image
to its standard output, and ends. A file that takes over PDFium gets hold of nothing but this."""

import json
import math
import os
import resource
import sys
from typing import Any, BinaryIO, Final, NoReturn

import pypdfium2
from PIL import Image, ImageChops

from little_monster.platform import kernel
from little_monster.platform.engines.protocols import Mark, PageRequest
from little_monster.platform.priority import give_way

DONE: Final = 0
NO_PAGE: Final = 3
"""Status where the PDF is shorter."""
UNREADABLE: Final = 4
"""Status where PDFium refuses the file or the page."""

MAX_PIXELS: Final = 16_000_000
CPU_S, MEMORY_BYTES, IMAGE_BYTES, FILES = 20, 2**30, 32 * 2**20, 32
_NICE: Final = 5
_YELLOW: Final = (255, 232, 92)
# Room around a line, as a share of its height.
_ROOM: Final = 0.12
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"png": {}, "webp": {"quality": 85, "method": 2}}


class NoSuchPage(Exception):
    """The PDF is shorter."""


def render(pdf: BinaryIO, request: PageRequest, target: BinaryIO) -> None:
    """Write the image of a page.

    Raises:
        NoSuchPage: the PDF is shorter.
        pypdfium2.PdfiumError: it cannot be read.
    """
    document = pypdfium2.PdfDocument(pdf)
    if request.page > len(document):
        raise NoSuchPage
    page = document[request.page - 1]
    bitmap = page.render(scale=_scale(page, request.width), rev_byteorder=True)
    image = bitmap.to_pil().convert("RGB")
    to_pixels = bitmap.get_posconv(page).to_bitmap
    for mark in request.marks:
        _highlight(image, to_pixels, mark)
    image.save(target, request.form, **_OPTIONS[request.form])


def _scale(page: Any, pixels: int) -> float:
    """Return pixels a point: a page of an odd shape is rendered narrower than asked, so that it fits into
    memory."""
    width, height = page.get_size()
    if width <= 0 or height <= 0:
        raise pypdfium2.PdfiumError("a page without a size")
    scale: float = min(pixels / width, math.sqrt(MAX_PIXELS / (width * height)))
    return scale


def _highlight(image: Any, to_pixels: Any, mark: Mark) -> None:
    """Colour a line as a marker pen does: what is dark stays so."""
    left, bottom, right, top = mark
    room = _ROOM * (top - bottom)
    # The corners change places on a page that is turned.
    (x1, y1), (x2, y2) = to_pixels(left, bottom - room), to_pixels(right, top + room)
    area = (
        max(min(x1, x2), 0),
        max(min(y1, y2), 0),
        min(max(x1, x2), image.width),
        min(max(y1, y2), image.height),
    )
    if area[0] >= area[2] or area[1] >= area[3]:
        return
    part = image.crop(area)
    image.paste(ImageChops.multiply(part, Image.new("RGB", part.size, _YELLOW)), area)


def limit() -> None:
    """Give up what a page does not need: time, memory, files, the network, the right to make processes."""
    for what, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, IMAGE_BYTES),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))
    give_way(_NICE)
    # What an old kernel or a strict container does not do is left at that.
    kernel.forbid_new_privileges()
    kernel.leave_network()
    kernel.confine_files(kernel.library_folders())
    kernel.refuse_calls()


def main() -> NoReturn:
    """Render what the argument says, and end with a status."""
    limit()
    given = json.loads(sys.argv[1])
    request = PageRequest(**{**given, "marks": tuple(tuple(mark) for mark in given["marks"])})
    status = DONE
    try:
        with open(0, "rb", closefd=False) as pdf, open(1, "wb", closefd=False) as image:
            render(pdf, request, image)
    except NoSuchPage:
        status = NO_PAGE
    except pypdfium2.PdfiumError:
        status = UNREADABLE
    # Nothing is tidied up that a hostile file may have spoilt.
    os._exit(status)


if __name__ == "__main__":
    main()

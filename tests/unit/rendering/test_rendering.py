"""Pages as images: what is marked, what is refused, and what the process of a page may do."""

import io
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fpdf import FPDF
from PIL import Image
from pypdf import PdfReader, PdfWriter

from little_monster.platform.engines.protocols import PageRequest
from little_monster.platform.errors import Conflict, NotFound, Unavailable
from little_monster.platform.rendering import child, processes
from little_monster.platform.rendering.processes import RenderingProcesses

WHITE, YELLOW = (255, 255, 255), child._YELLOW


def blank(width: float = 200, height: float = 400, *, turned: int = 0) -> bytes:
    """A PDF with one empty page, of points."""
    pdf = FPDF(unit="pt", format=(width, height))
    pdf.add_page()
    writer = PdfWriter()
    writer.add_page(PdfReader(io.BytesIO(bytes(pdf.output()))).pages[0].rotate(turned))
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def rendered(pdf: bytes, request: PageRequest) -> Image.Image:
    target = io.BytesIO()
    child.render(io.BytesIO(pdf), request, target)
    return Image.open(target)


def test_a_mark_stands_where_the_points_say() -> None:
    image = rendered(blank(), PageRequest(1, 400, "png", ((20, 300, 100, 320),)))
    assert image.size == (400, 800)
    # Two pixels a point, from the upper left corner.
    assert image.getpixel((120, 180)) == YELLOW
    for place in ((30, 180), (210, 180), (120, 150), (120, 210)):
        assert image.getpixel(place) == WHITE, place


def test_a_mark_turns_with_its_page() -> None:
    image = rendered(blank(turned=90), PageRequest(1, 800, "png", ((20, 300, 100, 320),)))
    assert image.size == (800, 400)
    # Turned by a quarter to the right: what was left is above, what was above is right.
    assert image.getpixel((620, 120)) == YELLOW
    assert image.getpixel((620, 30)) == WHITE
    assert image.getpixel((660, 120)) == WHITE


@pytest.mark.parametrize("mark", [(-50, -50, -10, -10), (500, 500, 900, 900), (50, 50, 50, 50)])
def test_a_mark_beside_the_page_is_none(mark: tuple[float, float, float, float]) -> None:
    image = rendered(blank(), PageRequest(1, 100, "png", (mark,)))
    assert image.getcolors() == [(100 * 200, WHITE)]


@pytest.mark.parametrize(("width", "height"), [(3, 14_400), (14_400, 3), (14_400, 14_400)])
def test_a_page_of_an_odd_shape_fits_into_memory(width: float, height: float) -> None:
    image = rendered(blank(width, height), PageRequest(1, 2_000, "png"))
    assert image.width * image.height <= child.MAX_PIXELS * 1.01
    assert image.width <= 2_001


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_a_process_renders() -> None:
    made = await RenderingProcesses().render(_once(blank()), PageRequest(1, 100, "webp", ((0, 0, 200, 400),)))
    image = Image.open(io.BytesIO(made))
    assert (image.format, image.size) == ("WEBP", (100, 200))


async def test_a_missing_page_and_a_damaged_file_are_told_apart() -> None:
    renderer = RenderingProcesses()
    with pytest.raises(NotFound) as missing:
        await renderer.render(_once(blank()), PageRequest(2, 100, "png"))
    assert missing.value.code == "page_not_found"
    with pytest.raises(Conflict) as damaged:
        await renderer.render(_once(b"%PDF-1.7 nothing"), PageRequest(1, 100, "png"))
    assert damaged.value.code == "page_not_rendered"


async def test_a_process_that_dies_is_a_page_that_is_not_rendered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one does that a limit ends."""
    (tmp_path / "dies.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(processes.child, "__name__", "dies")
    with pytest.raises(Conflict):
        await RenderingProcesses().render(_once(blank()), PageRequest(1, 100, "png"))


async def test_whoever_waits_too_long_is_told_to_come_again() -> None:
    with pytest.raises(Unavailable) as raised:
        await RenderingProcesses(at_once=0, wait_s=0.01).render(_once(b""), PageRequest(1, 100, "png"))
    assert (raised.value.code, raised.value.retry_after_s) == ("rendering_busy", 5)


async def test_a_process_knows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text("import os\nprint(*os.environ)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(processes.child, "__name__", "tells")
    monkeypatch.setenv("LM_AUTH__SECRET", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    known = (await RenderingProcesses().render(_once(blank()), PageRequest(1, 100, "png"))).decode().split()
    assert "PATH" in known
    assert not [name for name in known if name.startswith(("LM_", "AWS_"))]


def _limited(attempt: Callable[[], object]) -> str:
    """Return the name of what an attempt raises in a process that has limited itself."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            # What other tests left open is not this process's.
            os.closerange(3, theirs)
            os.closerange(theirs + 1, 65_536)
            child.limit()
            attempt()
            os.write(theirs, b"nothing")
        except BaseException as error:
            os.write(theirs, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(theirs)
    raised = os.read(ours, 100).decode()
    os.close(ours)
    os.waitpid(pid, 0)
    return raised


def test_a_process_is_limited() -> None:
    def hog() -> None:
        _ = bytes(child.MEMORY_BYTES + 1)

    def hoard() -> None:
        _ = [os.open(os.devnull, os.O_RDONLY) for _ in range(child.FILES + 1)]

    assert _limited(hog) == "MemoryError"
    assert _limited(hoard) == "OSError"
    assert _limited(_check_time) == "nothing"


def _check_time() -> None:
    assert resource.getrlimit(resource.RLIMIT_CPU) == (child.CPU_S, child.CPU_S)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux does it")
def test_a_process_reaches_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    assert _limited(secret.read_text) == "PermissionError"
    assert _limited(lambda: (tmp_path / "new").write_text("new")) == "PermissionError"
    assert _limited(socket.socket) == "PermissionError"
    assert _limited(os.fork) == "PermissionError"

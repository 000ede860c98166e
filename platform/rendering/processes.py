"""Renders each page in a process of its own, without our secrets, and ends it when it takes too long."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import IO, Final

import structlog

from little_monster.platform.clean_environment import clean_environment
from little_monster.platform.engines.protocols import PageRequest
from little_monster.platform.errors import Conflict, NotFound, Unavailable
from little_monster.platform.rendering import child

AT_ONCE: Final = 2
"""Pages that one process of ours has rendered at once."""
WALL_S: Final = 30.0
_WAIT_S: Final = 20.0

_log = structlog.get_logger(__name__)


class RenderingProcesses:
    """A `PageRenderer`."""

    def __init__(self, *, at_once: int = AT_ONCE, wall_s: float = WALL_S, wait_s: float = _WAIT_S) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._wall_s, self._wait_s = wall_s, wait_s

    async def render(self, pdf: AsyncIterator[bytes], request: PageRequest) -> bytes:
        """Render as `PageRenderer` says."""
        try:
            await asyncio.wait_for(self._places.acquire(), self._wait_s)
        except TimeoutError:
            raise Unavailable(
                "Too many pages are being rendered.", code="rendering_busy", retry_after_s=5
            ) from None
        try:
            with tempfile.TemporaryFile() as file:
                async for part in pdf:
                    await asyncio.to_thread(file.write, part)
                file.seek(0)
                # The process outlives who waits no longer by its time limit at most.
                return await asyncio.to_thread(self._run, file, request)
        finally:
            self._places.release()

    def _run(self, pdf: IO[bytes], request: PageRequest) -> bytes:
        command = [sys.executable, "-m", child.__name__, json.dumps(asdict(request))]
        # A file and no pipe, as a limit holds for files.
        with tempfile.TemporaryFile() as image:
            try:
                ended = subprocess.run(
                    command,
                    stdin=pdf,
                    stdout=image,
                    stderr=subprocess.DEVNULL,
                    env=clean_environment(),
                    timeout=self._wall_s,
                    start_new_session=True,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise _not_rendered("timeout") from None
            if ended.returncode == child.NO_PAGE:
                raise no_page()
            if ended.returncode != child.DONE:
                raise _not_rendered(ended.returncode)
            image.seek(0)
            return image.read()


def no_page() -> NotFound:
    """Return the error for a page that the document has not."""
    return NotFound("The document has no such page.", code="page_not_found")


def _not_rendered(status: int | str) -> Conflict:
    _log.warning("page_not_rendered", status=status)
    return Conflict("The page cannot be rendered: it is damaged, or too much.", code="page_not_rendered")

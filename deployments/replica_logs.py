"""A replica's structured logs, written straight into the file that Serve keeps for it."""

import io
import logging
from logging.handlers import MemoryHandler, RotatingFileHandler
from typing import TextIO, cast

from ray.serve._private.constants import SERVE_LOGGER_NAME

from little_monster.platform.logs import setup_logs
from little_monster.platform.settings import TelemetrySettings


def setup_replica_logs(settings: TelemetrySettings) -> None:
    """Configure this replica's logs. May be called again.

    Serve turns what a replica writes to stderr into records of its own logger: it walks the whole stack for
    each line and wraps our JSON into its JSON, which took a fifth of the time of a short request.
    """
    handler = _file_handler()
    setup_logs(settings, None if handler is None else cast("TextIO", ReplicaLog(handler)))


class ReplicaLog(io.TextIOBase):
    """Text stream over a rotating log file that others write records to; takes whole lines."""

    def __init__(self, handler: RotatingFileHandler) -> None:
        self._handler = handler

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        handler = self._handler
        handler.acquire()
        try:
            if 0 < handler.maxBytes <= self._stream.tell() + len(text):
                handler.doRollover()
            self._stream.write(text)
            self._stream.flush()
        finally:
            handler.release()
        return len(text)

    @property
    def _stream(self) -> TextIO:
        """The file of now; a rotation opens another one."""
        assert self._handler.stream is not None
        return self._handler.stream


def _file_handler() -> RotatingFileHandler | None:
    """Return the handler of Serve's log file; None where Serve logs to stderr (RAY_SERVE_LOG_TO_STDERR)."""
    for handler in logging.getLogger(SERVE_LOGGER_NAME).handlers:
        target = handler.target if isinstance(handler, MemoryHandler) else handler
        if isinstance(target, RotatingFileHandler):
            return target
    return None

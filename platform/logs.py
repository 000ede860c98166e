"""Structured logs to stderr, with what must not be read in them taken out."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from little_monster.platform.settings import TelemetrySettings

REDACTED = "[redacted]"

bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))
"""What every line of the current task also says: the id of its request, and of its trace."""

_SECRET_KEY = re.compile(r"authorization|password|passwd|token|secret|api_?key|cookie|e_?mail", re.IGNORECASE)
# Quantifiers are bounded, so that a long text without a match is read once.
_SECRET_TEXT = re.compile(
    r"(?P<dsn>://[^\s:/@]{0,256}):[^\s/@]{1,256}@"
    r"|\beyJ[\w-]{4,4096}\.[\w-]{2,4096}\.[\w-]{0,4096}"
    r"|\bbearer\s+[\w.~+/=-]{8,4096}"
    r"|lmp_[\w-]{8,4096}"
    # All that RFC 5322 lets stand unquoted before the @.
    r"|[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"
    # PostgreSQL quotes whole rows there.
    r"|(?<=DETAIL:  )[^\n]{1,65536}",
    re.IGNORECASE,
)
# A text without one of these holds none of it, which is seen sooner.
_SIGNS = ("@", "eyJ", "lmp_", "DETAIL:")
_HANDLER_NAME = "little-monster"
# Made once: `json.dumps` makes one each time that it is given a `default`.
_JSON = json.JSONEncoder(default=str)


def setup_logs(settings: TelemetrySettings, stream: TextIO | None = None) -> None:
    """Configure structlog, and the logs of libraries from WARNING on, for this process. May be called again.

    Args:
        stream: where lines go; stderr when None.
    """
    global _access
    target = stream or sys.stderr
    shared = _shared_processors()
    _access = _AccessLog(target, settings)
    structlog.configure(
        processors=[*shared, _renderer(settings.log_format)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    _add_library_handler(target, shared, settings.log_format)


def log_access(**fields: str | float) -> None:
    """Log at INFO that a request was answered. The caller vouches for the fields, which are not redacted: the
    way of other lines costs a short request a tenth of its time.
    """
    if _access is not None:
        _access.write(fields)


class _AccessLog:
    def __init__(self, target: TextIO, settings: TelemetrySettings) -> None:
        self._target, self._render = target, _renderer(settings.log_format)
        self._silent = logging.getLevelName(settings.log_level) > logging.INFO

    def write(self, fields: Mapping[str, str | float]) -> None:
        if self._silent:
            return
        time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**fields, "event": "request", **bound.get(), "level": "info", "timestamp": time}
        self._target.write(str(self._render(None, "info", line)) + "\n")
        self._target.flush()


_access: _AccessLog | None = None


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets and e-mail addresses out of an event: by the name of a field, and by the look of a text.

    Numbers stay under any name, as a count of tokens is no secret.
    """
    return {key: _redact_field(key, value) for key, value in event.items()}


def redact_text(text: str) -> str:
    """Return `text` without what looks like a token, an e-mail address, or the password of a URL, and without
    the rows that an error of PostgreSQL quotes."""
    if not any(sign in text for sign in _SIGNS) and "earer" not in text.lower():
        return text
    return _SECRET_TEXT.sub(_replacement, text)


def _add_bound(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.update(bound.get())
    return event


def _redact_field(key: str, value: Any) -> Any:
    if isinstance(value, (str, bytes)) and _is_secret(key):
        return REDACTED
    return _redact_value(value)


@lru_cache(1024)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: _redact_field(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact_value(inner) for inner in value]
    return value


def _replacement(match: re.Match[str]) -> str:
    dsn = match.group("dsn")
    return f"{dsn}:{REDACTED}@" if dsn else REDACTED


def _shared_processors() -> list[Processor]:
    return [
        _add_bound,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]


def _renderer(log_format: str) -> Processor:
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer(serializer=_to_json)


def _to_json(event: EventDict, **_options: Any) -> str:
    return _JSON.encode(event)


def _add_library_handler(target: TextIO, shared: list[Processor], log_format: str) -> None:
    handler = logging.StreamHandler(target)
    handler.set_name(_HANDLER_NAME)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                _renderer(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if one.get_name() != _HANDLER_NAME] + [handler]

"""Headers that make every answer safe to a browser: it guesses no type, stores nothing, runs nothing."""

from collections.abc import Iterable
from typing import Final

POLICY: Final = "Content-Security-Policy"

RawHeaders = tuple[tuple[bytes, bytes], ...]

ALWAYS: Final[RawHeaders] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
# What says nothing of storing it is somebody's own.
_UNSTORED: Final[RawHeaders] = (*ALWAYS, (b"cache-control", b"no-store"))
# What a browser opens as a document that can run scripts.
_PAGES: Final = (b"text/html", b"application/xhtml+xml", b"image/svg+xml", b"text/xml", b"application/xml")
# A page that brings no policy of its own needs nothing and may do nothing.
_POLICY: Final = POLICY.lower().encode()
_STRICT: Final[RawHeaders] = (
    (_POLICY, b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"),
)


def safe_headers(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return what an answer with these headers lacks to be safe. It runs for each answer, and so looks at
    each header once.
    """
    added, is_page, has_policy = _UNSTORED, False, False
    for name, value in headers:
        if name == b"cache-control":
            added = ALWAYS
        elif name == b"content-type":
            is_page = value.lower().startswith(_PAGES)
        elif name == _POLICY:
            has_policy = True
    return (*added, *_STRICT) if is_page and not has_policy else added

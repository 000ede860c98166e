"""Texts that a calendar file can carry: lines, tabs, and no other control characters (RFC 5545, section
3.1)."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def with_plain_ends(text: str) -> str:
    """Return the text with the ends of lines that a file gives back, whatever system it was written on."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def has_controls(text: str) -> bool:
    """Say whether it has a control character other than the end of a line and a tab."""
    return _CONTROL.search(text) is not None


def without_controls(text: str) -> str:
    """Return what a file can carry of the text."""
    return _CONTROL.sub("", with_plain_ends(text))

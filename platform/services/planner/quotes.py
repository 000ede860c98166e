"""What a stranger's file says, in a message of ours."""

MAX_CHARS = 40
_CUT = "…"


def quoted(text: str, most: int = MAX_CHARS) -> str:
    """Return the beginning of the text, without what acts instead of being read: controls, line breaks, marks
    that turn the direction, halves of characters."""
    shown = "".join(one if one.isprintable() else "\ufffd" for one in text[:most])
    return shown if len(text) <= most else shown + _CUT

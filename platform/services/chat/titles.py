"""The title of a conversation that was given none."""

MAX_CHARS = 60


def make_title(question: str) -> str:
    """Return the beginning of the question, on one line, at most 60 characters, cut between words."""
    line = " ".join(question.split())
    if len(line) <= MAX_CHARS:
        return line
    head = line[: MAX_CHARS - 1]
    cut = head.rpartition(" ")[0] if " " in head[MAX_CHARS // 2 :] else head
    return cut.rstrip(" ,;:-") + "…"

"""Where a passage speaks of what a query asks: the words they share, and the sentence with most of them."""

from collections.abc import Sequence

from little_monster.platform.engines import bm25
from little_monster.platform.engines.protocols import Span
from little_monster.platform.services.chat.sentences import sentence_spans


def matches(query: str, content: str) -> tuple[Span, ...]:
    """Return where words of the query stand in `content`, in whatever form, in order; ranges that touch are
    one."""
    return tuple(_joined([(start, end) for start, end, _ in _shared(query, content)]))


def quote(query: str, content: str) -> Span | None:
    """Return the sentence of `content` with most of the query's words, of alike ones the first; None where
    none has any."""
    shared = _shared(query, content)
    best, most = None, 0
    for start, end in sentence_spans(content):
        found = len({term for at, _, term in shared if start <= at < end})
        if found > most:
            best, most = (start, end), found
    return best


def _shared(query: str, content: str) -> list[bm25.Term]:
    wanted = {term for _, _, term in bm25.terms(query)}
    return [found for found in bm25.terms(content) if found[2] in wanted]


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            start, end = joined.pop()[0], max(end, start)
        joined.append((start, end))
    return joined

"""Where a passage speaks of what a query asks: the words they share, and the sentence with most of them."""

from collections.abc import Sequence
from typing import NamedTuple

from little_monster.platform.engines import bm25
from little_monster.platform.engines.protocols import Span
from little_monster.platform.services.chat.sentences import is_heading, sentence_spans


class Highlights(NamedTuple):
    """`matches` are the query's words, in whatever form, in order; ranges that touch are one. `quote` is the
    sentence with most of them, of alike ones the first, and a heading only where no other has any; None
    where none has."""

    matches: tuple[Span, ...]
    quote: Span | None


class Highlighter:
    """Marks passages for one query."""

    def __init__(self, query: str) -> None:
        self._wanted = {term for _, _, term in bm25.terms(query)}

    def mark(self, content: str) -> Highlights:
        """Return what of `content` answers the query."""
        shared = bm25.find(self._wanted, content)
        return Highlights(tuple(_joined(shared)), _best_sentence(content, shared) if shared else None)


def _best_sentence(content: str, shared: Sequence[bm25.Term]) -> Span | None:
    best, most, rest = None, (False, 0), iter(shared)
    word = next(rest, None)
    for start, end in sentence_spans(content):
        found = set()
        while word and word[0] < end:
            found.add(word[2])
            word = next(rest, None)
        rank = (not is_heading(content, start), len(found))
        if found and rank > most:
            best, most = (start, end), rank
    return best


def _joined(shared: Sequence[bm25.Term]) -> list[Span]:
    joined: list[Span] = []
    for start, end, _ in shared:
        if joined and start <= joined[-1][1]:
            first, last = joined.pop()
            joined.append((first, max(last, end)))
        else:
            joined.append((start, end))
    return joined

"""Where sentences end, in passages that are whole and in an answer that still grows."""

import re
from collections.abc import Iterator
from itertools import pairwise

# A sentence ends with a stop, its closing quotes and brackets, and white space; so does an empty line and a
# bullet. What a gap begins with stands first, so that all other characters are passed over at once.
_GAP = re.compile(
    r"[.!?…。！？\n](?:(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])\s*"  # noqa: RUF001
    r"|(?<=\n)\s*\n\s*|(?<=\n)\s*(?=[-*•]\s))"
)

# In an answer `[1]` behind the stop belongs to the sentence before it, so what follows must be seen first.
_ANSWER_GAP = re.compile(
    r"(?:(?<=[.!?…])[\"'”’)*_]*|(?<=[。！？]))(?:\s*[\[【][^\]】]{1,12}[\]】])*\s+(?=[^\s\[【])"  # noqa: RUF001
    r"|(?<=[。！？])(?=[^\s\[【])|\n\s*(?=[^\s\[【])"  # noqa: RUF001
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|e\.g|i\.e|cf|vs|al|etc|approx|Dr|Prof|Mr|Mrs|Ms|St|Figs?|Eqs?|Nos?|pp?|vol|ca)|^\s*\d{1,3})\.$"
)
_LOOK_BACK = 12

# A short line between empty ones that is no sentence, item of a list or row of a table. It may ask.
_HEADING = re.compile(
    r"(?:\A|(?<=\n\n))(?![-*•|>]|\(?\d{1,3}[.)]\s)[^\n]{1,100}(?<![.!…。！:;,])(?=\n\n)"  # noqa: RUF001
)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return `(start, end)` of every sentence, in order, without white space at its ends."""
    cuts = [0]
    for gap in _GAP.finditer(text):
        # The stop is part of the sentence, and of what may be an abbreviation.
        if not _abbreviated(text, cuts[-1], gap.start() + 1):
            cuts.append(gap.end())
    cuts.append(len(text))
    return [span for start, end in pairwise(cuts) for span in _stripped(text, start, end)]


def is_heading(text: str, start: int) -> bool:
    """Say whether a heading begins there. It has the words of many a claim, and supports none."""
    return _HEADING.match(text, start) is not None


class SentenceReader:
    """Cuts an answer into sentences while it is written. Positions are characters of the whole answer."""

    def __init__(self) -> None:
        self._pending = ""
        self._start = 0

    def feed(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield `(start, end, sentence)` of each sentence that this text finishes."""
        self._pending += text
        taken = 0
        for gap in _ANSWER_GAP.finditer(self._pending):
            if not _abbreviated(self._pending, taken, gap.start()):
                yield from self._sentence(taken, gap.end())
                taken = gap.end()
        self._pending, self._start = self._pending[taken:], self._start + taken

    def finish(self) -> Iterator[tuple[int, int, str]]:
        """Yield what is left as the last sentence."""
        yield from self._sentence(0, len(self._pending))
        self._start += len(self._pending)
        self._pending = ""

    def _sentence(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        for first, last in _stripped(self._pending, start, end):
            yield self._start + first, self._start + last, self._pending[first:last]


def _abbreviated(text: str, start: int, end: int) -> bool:
    return _ABBREVIATION.search(text[max(start, end - _LOOK_BACK) : end]) is not None


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = text[start:end].lstrip()
    if first:
        yield end - len(first), end - len(first) + len(first.rstrip())

"""What a model reads of a text that is longer than it reads at once: windows, and one vector of theirs.

A passage is as long as the model reads that its document was read for. Another model may read less. Of a
text that is longer, by the count of the model's own tokenizer, it reads one window after the other, each of
whole sentences where they fit. The vector of the text is the mean of theirs, by their tokens, of length 1
again. A text of one window has its vector unchanged.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy

from little_monster.pipelines.stages.document import Block, ParsedDocument
from little_monster.pipelines.stages.sentences import Piece, pieces
from little_monster.pipelines.stages.tokens import TokenCounter, load_counter
from little_monster.platform.engines.protocols import EmbedderInfo

_LINE = re.compile(r"\S.*\S|\S")


@dataclass(frozen=True, slots=True)
class Windows:
    """`texts` are the windows of some texts, one text after the other; `tokens` holds, for each of those, the
    tokens of its windows."""

    texts: list[str]
    tokens: list[list[int]]

    def join(self, vectors: numpy.ndarray) -> numpy.ndarray:
        """Return a vector a text, of length 1, given one a window: shape (len(self.texts), dimension)."""
        rows = iter(vectors)
        joined = [_mean([*islice(rows, len(tokens))], tokens) for tokens in self.tokens]
        stacked: numpy.ndarray = numpy.stack(joined)
        return stacked.astype(vectors.dtype)


def windows(texts: Sequence[str], info: EmbedderInfo) -> Windows:
    """Cut texts to what a model reads at once. Blocks, the first time seconds where it fetches a tokenizer.

    Raises:
        ConfigurationError: the model has no `tokenizer.json`.
    """
    counter = load_counter(info.source)
    size = info.max_tokens - counter.special_tokens
    counts = counter.count_each(texts)
    cut = [
        [(text, count)] if count <= size else cut_text(text, counter, size)
        for text, count in zip(texts, counts, strict=True)
    ]
    return Windows(
        [window for one in cut for window, _ in one], [[tokens for _, tokens in one] for one in cut]
    )


def cut_text(text: str, counter: TokenCounter, size: int) -> list[tuple[str, int]]:
    """Return the windows of a text in order, each with its tokens, `size` at most; nothing but white space is
    left out between them.
    """
    found, made = pieces(_lines(text), counter, lambda _: size), []
    while found:
        count, tokens = _fitting(text, found, counter, size)
        made.append((text[found[0].start : found[count - 1].end], tokens))
        found = found[count:]
    return made


def _lines(text: str) -> ParsedDocument:
    """Return a text as a document whose blocks are its lines: a row of a table ends no sentence."""
    return ParsedDocument(text, tuple(Block("paragraph", *line.span()) for line in _LINE.finditer(text)))


def _fitting(text: str, found: Sequence[Piece], counter: TokenCounter, size: int) -> tuple[int, int]:
    """Return how many of the first pieces one window has, and its tokens."""
    total = count = 0
    for piece in found:
        total += piece.tokens
        if count and total > size:
            break
        total, count = total + piece.gap, count + 1
    # Sums are close, but some tokenizers join over the bounds of pieces: only the whole is exact.
    while True:
        tokens = counter.count(text[found[0].start : found[count - 1].end])
        if tokens <= size or count == 1:
            return count, tokens
        count -= 1


def _mean(vectors: Sequence[numpy.ndarray], tokens: Sequence[int]) -> numpy.ndarray:
    if len(vectors) == 1:
        return vectors[0]
    mean = numpy.average(vectors, axis=0, weights=tokens)
    unit: numpy.ndarray = mean / numpy.linalg.norm(mean)
    return unit

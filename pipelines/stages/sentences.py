"""The smallest pieces that a chunk is made of: sentences, lines, and parts of them where they are too
long.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from little_monster.pipelines.stages.document import Block, BlockKind, ParsedDocument
from little_monster.pipelines.stages.tokens import TokenCounter

# A run of letters longer than this is one unknown token to some tokenizers, however long; so pieces are
# bounded by characters too.
MAX_CHARS_PER_TOKEN = 12

_SENTENCE_GAP = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")  # noqa: RUF001  CJK ends sentences so.
_LINE_GAP = re.compile(r"\s*\n\s*")

# A full stop after one of these, or after a single capital, mostly ends no sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|e\.g|i\.e|cf|vs|et al|etc|Dr|Prof|Mr|Mrs|Ms|St|Fig|Figs|Eq|No|pp?|vol|ca))\.$"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """`text[start:end]`, no white space at its ends, at most one chunk long.

    `tokens` of it alone, `gap` more with the white space after it. `block` counts the blocks of the document;
    `headings` is the path that it stands under, its own included when it is one.
    """

    start: int
    end: int
    kind: BlockKind
    block: int
    headings: tuple[str, ...]
    tokens: int = 0
    gap: int = 0


def pieces(
    document: ParsedDocument, counter: TokenCounter, room: Callable[[tuple[str, ...]], int]
) -> list[Piece]:
    """Cut a document into pieces; nothing but white space is left out.

    Args:
        document: what to cut.
        counter: counts tokens.
        room: how many tokens a piece has at most that stands under these headings.
    """
    text = document.text
    cut = [part for piece in _spans(document) for part in _by_characters(text, piece, room(piece.headings))]
    counted = _count(text, cut, counter)
    fitted = [part for piece in counted for part in _by_tokens(text, piece, counter, room(piece.headings))]
    return _count_gaps(document.text, fitted, counter) if counter.counts_space else fitted


def _spans(document: ParsedDocument) -> Iterator[Piece]:
    path: tuple[tuple[int, str], ...] = ()
    for number, block in enumerate(document.blocks):
        if block.kind == "heading":
            title = " ".join(document.text[block.start : block.end].split())
            path = (*((level, text) for level, text in path if level < block.level), (block.level, title))
        headings = tuple(text for _, text in path)
        for start, end in _sentences(document.text, block):
            yield Piece(start, end, block.kind, number, headings)


def _sentences(text: str, block: Block) -> Iterator[tuple[int, int]]:
    if block.kind == "heading":
        yield block.start, block.end
        return
    pattern = _LINE_GAP if block.kind in ("table", "code") else _SENTENCE_GAP
    start = block.start
    for gap in pattern.finditer(text, block.start, block.end):
        if _ABBREVIATION.search(text, max(start, gap.start() - 12), gap.start()):
            continue
        yield from _stripped(text, start, gap.end())
        start = gap.end()
    yield from _stripped(text, start, block.end)


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    span = text[start:end]
    if span.strip():
        yield start + len(span) - len(span.lstrip()), end - len(span) + len(span.rstrip())


def _by_characters(text: str, piece: Piece, size: int) -> Iterator[Piece]:
    limit = size * MAX_CHARS_PER_TOKEN
    start = piece.start
    while piece.end - start > limit:
        end = _word_end(text, start, start + limit)
        yield from (replace(piece, start=a, end=b) for a, b in _stripped(text, start, end))
        start = end
    yield from (replace(piece, start=a, end=b) for a, b in _stripped(text, start, piece.end))


def _word_end(text: str, start: int, end: int) -> int:
    """Return where the last whole word before `end` ends; `end` itself when that leaves less than half."""
    for position in range(end, (start + end) // 2, -1):
        if text[position - 1].isspace() or text[position : position + 1].isspace():
            return position
    return end


def _by_tokens(text: str, piece: Piece, counter: TokenCounter, size: int) -> Iterator[Piece]:
    while piece.tokens > size:
        end = _fitting_end(text[piece.start : piece.end], counter, size)
        yield from _recounted(text, replace(piece, end=piece.start + end), counter)
        rest = list(_recounted(text, replace(piece, start=piece.start + end), counter))
        if not rest:
            return
        piece = rest[0]
    yield piece


def _fitting_end(text: str, counter: TokenCounter, size: int) -> int:
    """Return the length of a beginning of `text` that has at most `size` tokens when it stands alone."""
    ends, keep = counter.ends(text), size
    while True:
        end = max(_word_end(text, 0, max(ends[keep - 1], 1)), 1)
        # What follows a cut takes part in how the text before it is cut into tokens, so the piece is counted
        # alone.
        if end == 1 or counter.count(text[:end].rstrip()) <= size:
            return end
        keep = keep * 3 // 4 or 1


def _recounted(text: str, piece: Piece, counter: TokenCounter) -> Iterator[Piece]:
    for start, end in _stripped(text, piece.start, piece.end):
        yield replace(piece, start=start, end=end, tokens=counter.count(text[start:end]))


def _count(text: str, cut: Sequence[Piece], counter: TokenCounter) -> list[Piece]:
    counts = counter.count_each([text[piece.start : piece.end] for piece in cut])
    return [replace(piece, tokens=tokens) for piece, tokens in zip(cut, counts, strict=True)]


def _count_gaps(text: str, fitted: list[Piece], counter: TokenCounter) -> list[Piece]:
    nexts = [*(piece.start for piece in fitted[1:]), fitted[-1].end] if fitted else []
    counts = counter.count_each([text[piece.start : end] for piece, end in zip(fitted, nexts, strict=True)])
    return [
        replace(piece, gap=max(tokens - piece.tokens, 0))
        for piece, tokens in zip(fitted, counts, strict=True)
    ]

"""Text with structure to chunks that the embedding model reads whole."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile

from little_monster.pipelines.stages.boxes import boxes_within
from little_monster.pipelines.stages.document import Box, ParsedDocument
from little_monster.pipelines.stages.sentences import MAX_CHARS_PER_TOKEN, Piece, pieces
from little_monster.pipelines.stages.tokens import ChunkSize, TokenCounter

# A section shorter than this part of a chunk is joined with the next one: alone it says too little to be
# found.
_SHORT_SECTION = 1 / 4
# A chunk may end before a paragraph that does not fit any more when it is filled so far.
_WELL_FILLED = 1 / 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `content` is exactly `text[start:end]` of the document.

    `page` to `page_end` (1-based) are the pages it stands on, None without pages; `headings` is the path of
    headings that all of it stands under, outermost first; `token_count` leaves out the special tokens;
    `content_hash` is SHA-256 in hexadecimal; `boxes` are the lines that it has a part in.
    """

    index: int
    content: str
    start: int
    end: int
    page: int | None
    page_end: int | None
    headings: tuple[str, ...]
    token_count: int
    content_hash: str
    boxes: tuple[Box, ...] = ()


def chunk(document: ParsedDocument, counter: TokenCounter, size: ChunkSize) -> list[Chunk]:
    """Cut a document into chunks of at most `size.size` tokens each.

    A chunk ends where a section ends, else where a paragraph ends, else with a sentence; only a sentence that
    is longer than a chunk is cut. Inside of a section it begins with the last whole sentences of the one
    before, up to `size.overlap` tokens.
    """
    packer = _Packer(document.text, pieces(document, counter, size=size.size), counter, size)
    return [_chunk(document, index, run, count) for index, (run, count) in enumerate(packer.runs())]


def _chunk(document: ParsedDocument, index: int, run: Sequence[Piece], token_count: int) -> Chunk:
    start, end = run[0].start, run[-1].end
    content = document.text[start:end]
    return Chunk(
        index=index,
        content=content,
        start=start,
        end=end,
        page=_page(document, start),
        page_end=_page(document, end - 1),
        headings=_shared_headings(run),
        token_count=token_count,
        content_hash=sha256(content.encode()).hexdigest(),
        boxes=boxes_within(document.lines, start, end),
    )


def _page(document: ParsedDocument, position: int) -> int | None:
    if not document.pages:
        return None
    after = bisect_right(document.pages, position, key=lambda page: page.start)
    return document.pages[max(after - 1, 0)].number


def _shared_headings(run: Sequence[Piece]) -> tuple[str, ...]:
    paths = [piece.headings for piece in run if piece.kind != "heading"] or [run[-1].headings]
    shared = (level[0] for level in takewhile(_all_equal, zip(*paths, strict=False)))
    return tuple(shared)


def _all_equal(values: Sequence[str]) -> bool:
    return len(set(values)) == 1


class _Packer:
    """Puts pieces together to chunks, first fit."""

    def __init__(self, text: str, pieces: Sequence[Piece], counter: TokenCounter, size: ChunkSize) -> None:
        self._text, self._pieces, self._counter, self._size = text, pieces, counter, size

    def runs(self) -> Iterator[tuple[Sequence[Piece], int]]:
        """Yield the pieces of each chunk, and how many tokens they are together."""
        first = last = 0
        while last < len(self._pieces):
            end, count = self._end(first)
            if end <= last:
                # With the overlap nothing new fitted.
                first = last
                end, count = self._end(first)
            yield self._pieces[first:end], count
            first, last = self._overlap(first, end), end

    def _end(self, first: int) -> tuple[int, int]:
        end = self._without_headings(first, self._fill(first))
        # Sums are close, but some tokenizers join over the bounds of pieces: only the whole is exact.
        while (count := self._count(first, end)) > self._size.size and end - first > 1:
            end -= 1
        return end, count

    def _fill(self, first: int) -> int:
        total = self._pieces[first].tokens
        for index in range(first + 1, len(self._pieces)):
            piece, before = self._pieces[index], self._pieces[index - 1]
            if self._begins_section(piece, before) and total >= _SHORT_SECTION * self._size.size:
                return index
            total += before.gap + piece.tokens
            if total > self._size.size or self._too_long(first, index):
                return self._paragraph_end(first, index)
        return len(self._pieces)

    def _begins_section(self, piece: Piece, before: Piece) -> bool:
        return piece.kind == "heading" and before.kind != "heading"

    def _too_long(self, first: int, index: int) -> bool:
        length = self._pieces[index].end - self._pieces[first].start
        return length > MAX_CHARS_PER_TOKEN * self._size.size

    def _paragraph_end(self, first: int, index: int) -> int:
        """Return where the paragraph of `index` begins if it may as well go whole into the next chunk, else
        `index`.
        """
        begin = index
        while begin > first and self._pieces[begin - 1].block == self._pieces[index].block:
            begin -= 1
        filled = self._tokens(first, begin) >= _WELL_FILLED * self._size.size
        return begin if filled and self._block_fits(begin) else index

    def _block_fits(self, begin: int) -> bool:
        total, index = 0, begin
        while index < len(self._pieces) and self._pieces[index].block == self._pieces[begin].block:
            total, index = total + self._pieces[index].tokens + self._pieces[index].gap, index + 1
            if total > self._size.size:
                return False
        return True

    def _without_headings(self, first: int, end: int) -> int:
        """Leave headings at the end to the text that they head."""
        if end == len(self._pieces):
            return end
        bare = end
        while bare > first and self._pieces[bare - 1].kind == "heading":
            bare -= 1
        return bare if bare > first else end

    def _overlap(self, first: int, end: int) -> int:
        """Return where the next chunk begins: with the last sentences of `first` to `end`, of the same
        section only.
        """
        if end == len(self._pieces) or self._pieces[end].kind == "heading":
            return end
        begin, tokens = end, 0
        while begin - 1 > first and self._pieces[begin - 1].kind != "heading":
            tokens += self._pieces[begin - 1].tokens + self._pieces[begin - 1].gap
            if tokens > self._size.overlap or tokens + self._pieces[end].tokens > self._size.size:
                break
            begin -= 1
        return begin

    def _tokens(self, first: int, end: int) -> int:
        return sum(piece.tokens + piece.gap for piece in self._pieces[first:end])

    def _count(self, first: int, end: int) -> int:
        return self._counter.count(self._text[self._pieces[first].start : self._pieces[end - 1].end])

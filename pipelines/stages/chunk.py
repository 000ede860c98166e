"""Text with structure to chunks that the embedding model reads whole."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile

from little_monster.pipelines.stages.boxes import boxes_within
from little_monster.pipelines.stages.document import Box, ParsedDocument
from little_monster.pipelines.stages.embed import embedded_text
from little_monster.pipelines.stages.sentences import MAX_CHARS_PER_TOKEN, Piece, pieces
from little_monster.pipelines.stages.tokens import ChunkSize, TokenCounter

# A section shorter than this part of a chunk is joined with the next one: alone it says too little to be
# found.
_SHORT_SECTION = 1 / 4
# A chunk may end before a paragraph that does not fit any more when it is filled so far.
_WELL_FILLED = 1 / 2
# The path of headings takes at most this part of what the model reads.
_LONGEST_PATH = 1 / 4

Headings = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `content` is exactly `text[start:end]` of the document.

    `page` to `page_end` (1-based) are the pages it stands on, None without pages; `headings` is the path of
    headings that all of it stands under, outermost first, and of a path too long for the model the inner end;
    `token_count` is of the content alone; `content_hash` is SHA-256 in hexadecimal; `boxes` are the lines
    that it has a part in.
    """

    index: int
    content: str
    start: int
    end: int
    page: int | None
    page_end: int | None
    headings: Headings
    token_count: int
    content_hash: str
    boxes: tuple[Box, ...] = ()


def chunk(document: ParsedDocument, counter: TokenCounter, size: ChunkSize) -> list[Chunk]:
    """Cut a document into chunks; the model reads at most `size.size` tokens for each (`embedded_text`).

    A chunk ends where a section ends, else where a paragraph ends, else with a sentence, a row of a table or
    a line of code; only one that is longer than a chunk is cut. Inside of a section it begins with the last
    whole sentences of the one before, up to `size.overlap` tokens.
    """
    room = _Room(counter, size.size - counter.special_tokens)
    packer = _Packer(document.text, pieces(document, counter, room.under), room, size.overlap)
    return [_chunk(document, index, run, room) for index, run in enumerate(packer.runs())]


def _chunk(document: ParsedDocument, index: int, run: Sequence[Piece], room: "_Room") -> Chunk:
    start, end = run[0].start, run[-1].end
    content = document.text[start:end]
    return Chunk(
        index=index,
        content=content,
        start=start,
        end=end,
        page=_page(document, start),
        page_end=_page(document, end - 1),
        headings=room.fitting(_shared_headings(run), content),
        token_count=room.counter.count(content),
        content_hash=sha256(content.encode()).hexdigest(),
        boxes=boxes_within(document.lines, start, end),
    )


def _page(document: ParsedDocument, position: int) -> int | None:
    if not document.pages:
        return None
    after = bisect_right(document.pages, position, key=lambda page: page.start)
    return document.pages[max(after - 1, 0)].number


def _shared_headings(run: Sequence[Piece]) -> Headings:
    paths = [piece.headings for piece in run if piece.kind != "heading"] or [run[-1].headings]
    shared = (level[0] for level in takewhile(_all_equal, zip(*paths, strict=False)))
    return tuple(shared)


def _all_equal(values: Sequence[str]) -> bool:
    return len(set(values)) == 1


class _Room:
    """How many of the model's `tokens` a passage has beside the path of its headings."""

    def __init__(self, counter: TokenCounter, tokens: int) -> None:
        self.counter, self.tokens = counter, tokens
        self._paths: dict[tuple[Headings, str], int] = {}

    def under(self, headings: Headings, opening: str = "") -> int:
        """Return the tokens of a passage under these headings that begins with `opening`: nearly exact, as
        some tokenizers join over borders.
        """
        kept = self.kept(headings)
        return self.tokens - self._path(kept, opening)

    def kept(self, headings: Headings) -> Headings:
        """Return the inner end of the path that is short enough."""
        while self._path(headings, "") > _LONGEST_PATH * self.tokens:
            headings = headings[1:]
        return headings

    def fits(self, headings: Headings, content: str) -> bool:
        """Say whether the model reads all of a passage and its path."""
        return self.counter.count(embedded_text(headings, content)) <= self.tokens

    def fitting(self, headings: Headings, content: str) -> Headings:
        """Return as much of the inner end of the path as the model reads together with the passage."""
        headings = self.kept(headings)
        while headings and not self.fits(headings, content):
            headings = headings[1:]
        return headings

    def _path(self, headings: Headings, opening: str) -> int:
        key = headings, opening
        if key not in self._paths:
            read = self.counter.count(embedded_text(headings, opening))
            self._paths[key] = read - self.counter.count(opening)
        return self._paths[key]


class _Packer:
    """Puts pieces together to chunks, first fit."""

    def __init__(self, text: str, pieces: Sequence[Piece], room: _Room, overlap: int) -> None:
        self._text, self._pieces, self._room, self._most_overlap = text, pieces, room, overlap

    def runs(self) -> Iterator[Sequence[Piece]]:
        """Yield the pieces of each chunk."""
        first = last = 0
        while last < len(self._pieces):
            end = self._end(first)
            if end <= last:
                # With the overlap nothing new fitted.
                first = last
                end = self._end(first)
            yield self._pieces[first:end]
            first, last = self._overlap(first, end), end

    def _end(self, first: int) -> int:
        end = self._without_headings(first, self._fill(first))
        # Sums are close, but some tokenizers join over the bounds of pieces: only the whole is exact.
        while end - first > 1 and not self._fits(first, end):
            end = self._without_headings(first, end - 1)
        return end

    def _fits(self, first: int, end: int) -> bool:
        run = self._pieces[first:end]
        return self._room.fits(self._room.kept(_shared_headings(run)), self._text[run[0].start : run[-1].end])

    def _fill(self, first: int) -> int:
        total, opening = self._pieces[first].tokens, self._opening(first)
        for index in range(first + 1, len(self._pieces)):
            piece, before = self._pieces[index], self._pieces[index - 1]
            room = self._room.under(_shared_headings((self._pieces[first], piece)), opening)
            if self._begins_section(piece, before) and total >= _SHORT_SECTION * room:
                return index
            total += before.gap + piece.tokens
            if total > room or self._too_long(first, index):
                return self._paragraph_end(first, index)
        return len(self._pieces)

    def _opening(self, first: int) -> str:
        """Return the headings that a chunk begins with."""
        end = first
        while end < len(self._pieces) and self._pieces[end].kind == "heading":
            end += 1
        return self._text[self._pieces[first].start : self._pieces[end - 1].end] if end > first else ""

    def _begins_section(self, piece: Piece, before: Piece) -> bool:
        return piece.kind == "heading" and before.kind != "heading"

    def _too_long(self, first: int, index: int) -> bool:
        length = self._pieces[index].end - self._pieces[first].start
        return length > MAX_CHARS_PER_TOKEN * self._room.tokens

    def _paragraph_end(self, first: int, index: int) -> int:
        """Return where the paragraph of `index` begins if it may as well go whole into the next chunk, else
        `index`.
        """
        begin = index
        while begin > first and self._pieces[begin - 1].block == self._pieces[index].block:
            begin -= 1
        filled = self._tokens(first, begin) >= _WELL_FILLED * self._room.tokens
        return begin if filled and self._block_fits(begin) else index

    def _block_fits(self, begin: int) -> bool:
        total, index, room = 0, begin, self._room.under(self._pieces[begin].headings)
        while index < len(self._pieces) and self._pieces[index].block == self._pieces[begin].block:
            total, index = total + self._pieces[index].tokens + self._pieces[index].gap, index + 1
            if total > room:
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
        following = self._pieces[end]
        begin, tokens, room = end, 0, self._room.under(following.headings)
        while begin - 1 > first and self._pieces[begin - 1].kind != "heading":
            tokens += self._pieces[begin - 1].tokens + self._pieces[begin - 1].gap
            if tokens > self._most_overlap or tokens + following.tokens > room:
                break
            begin -= 1
        return begin

    def _tokens(self, first: int, end: int) -> int:
        return sum(piece.tokens + piece.gap for piece in self._pieces[first:end])

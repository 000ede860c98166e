"""What a model reads of a long text in windows: all of it, exactly as much at once as it reads."""

from collections.abc import Sequence

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from little_monster.pipelines.stages.embed import embed_batches, embed_whole
from little_monster.pipelines.stages.tokens import TokenCounter, load_counter
from little_monster.pipelines.stages.windows import Windows, cut_text, windows
from little_monster.platform.engines.fakes import TOKENIZER, FakeEmbedder
from little_monster.platform.engines.models import resolve_model
from little_monster.platform.engines.protocols import EmbedderInfo

COUNTER = load_counter(TOKENIZER)
READS = 32
INFO = EmbedderInfo("brief", TOKENIZER, 2, READS)
SIZE = READS - COUNTER.special_tokens
SENTENCE = "Chlorophyll absorbs blue light of the sun."


def visible(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        " ".join([SENTENCE] * 20),
        "Light > Colours\n\n" + " ".join([SENTENCE] * 5),
        "| cell | energy |\n" * 40,
        "word " * 300,
        "mitochondrion" * 60,
        "細胞は生命の単位です。" * 30,
        "\n\n" + "\U0001d518\U0001d52b 🙂 " * 60,
    ],
)
def test_windows_hold_all_of_a_text_in_order(text: str) -> None:
    cut = cut_text(text, COUNTER, SIZE)
    assert visible("".join(window for window, _ in cut)) == visible(text)
    assert [tokens for _, tokens in cut] == [COUNTER.count(window) for window, _ in cut]
    assert max(tokens for _, tokens in cut) <= SIZE
    assert len(cut) > 1 or COUNTER.count(text) <= SIZE


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=400))
def test_windows_lose_nothing_of_any_text(text: str) -> None:
    cut = windows([text], INFO)
    assert visible("".join(cut.texts)) == visible(text)
    assert all(COUNTER.count(window) <= SIZE for window in cut.texts)


def test_windows_end_with_sentences_and_lines() -> None:
    sentences = windows([" ".join([SENTENCE] * 20)], INFO).texts
    assert all(window.endswith("sun.") for window in sentences)
    assert all(window.startswith("Chlorophyll") for window in sentences)
    rows = windows(["| cell | energy |\n" * 40], INFO).texts
    assert all(window.startswith("| cell") and window.endswith("energy |") for window in rows)
    # No fewer sentences than fit.
    most = SIZE // COUNTER.count(SENTENCE)
    assert most > 1
    assert {window.count("sun.") for window in sentences[:-1]} == {most}


def test_a_window_is_full_to_the_last_token() -> None:
    sentence = "One two three four five six seven eight nine."
    assert 3 * COUNTER.count(sentence) == SIZE
    assert windows([" ".join([sentence] * 6)], INFO).tokens == [[SIZE, SIZE]]


class Joining(TokenCounter):
    """Counts words, and one more for each sentence that another stands before."""

    def count(self, text: str) -> int:
        return len(text.split()) + text.count(". ")

    def count_each(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]


def test_only_the_whole_window_is_exact() -> None:
    counter = Joining(Tokenizer.from_file(f"{resolve_model(TOKENIZER)}/tokenizer.json"))
    cut = cut_text("Cells divide. " * 8, counter, 10)
    assert [tokens for _, tokens in cut] == [8, 8, 5]
    assert sum(window.count(".") for window, _ in cut) == 8


def test_as_long_as_the_model_reads_is_one_window() -> None:
    fits, longer = "cell " * SIZE, "cell " * (SIZE + 1)
    cut = windows([fits, longer, "x"], INFO)
    # Of what is read whole nothing is changed, not even the space at its end.
    assert cut.texts == [fits, ("cell " * SIZE).strip(), "cell", "x"]
    assert cut.tokens == [[SIZE], [SIZE, 1], [1]]


def test_vectors_are_averaged_by_tokens() -> None:
    cut = Windows(["a", "b", "c", "d"], [[5], [30, 10], [7]])
    given = numpy.array([[0.6, 0.8], [1, 0], [0, 1], [-1, 0]], numpy.float32)
    joined = cut.join(given)
    assert joined.dtype == numpy.float32
    assert (joined[0] == given[0]).all()
    assert joined[1] == pytest.approx(numpy.array([3, 1]) / numpy.sqrt(10))
    assert (joined[2] == given[3]).all()


class Brief(FakeEmbedder):
    """Reads a text to its end only where it is short enough."""

    def __init__(self) -> None:
        super().__init__()
        self.info = EmbedderInfo("brief", TOKENIZER, 64, READS)

    def _embed(self, text: str) -> list[float]:
        assert COUNTER.count(text) <= SIZE
        return super()._embed(text)


async def test_a_text_that_fits_has_its_vector_unchanged() -> None:
    model, texts = Brief(), ["Cells divide.", SENTENCE, "x"]
    assert await embed_whole(model, texts) == await model.embed(texts)
    assert await embed_whole(model, []) == []


async def test_batches_count_texts_and_not_windows() -> None:
    model = Brief()
    texts = ["Cells divide.", " ".join([SENTENCE] * 9), SENTENCE, " ".join(["Kings rule."] * 20), "x"]
    batches = [batch async for batch in embed_batches(model, texts, source="", batch=2)]
    assert [(first, len(vectors)) for first, vectors in batches] == [(0, 2), (2, 2), (4, 1)]
    vectors = numpy.array([vector for _, batch in batches for vector in batch])
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1)
    # Repeated, a sentence says the same.
    assert (vectors @ numpy.array(await model.embed([SENTENCE])).T).argmax() in (1, 2)
    assert vectors[1] == pytest.approx(vectors[2])

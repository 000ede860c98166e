"""Sentences of an answer are cited with the exact words that support them, and only those sentences."""

from uuid import uuid4

import pytest

from little_monster.platform.engines.protocols import Passage
from little_monster.platform.services.chat.attribution import Attributor
from little_monster.platform.services.chat.events import Citation
from little_monster.platform.services.chat.sentences import SentenceReader, sentence_spans

TEXT = (
    "Chapter 3\n\nMitochondria are the organelles in which cells release energy from glucose. They have two "
    "membranes, e.g. an inner one that is folded. Their own DNA was found in 1963 by Margit Nass.\n\n"
    "Chloroplasts\nof plants absorb light and store its energy in sugar. Paris is the capital of France."
)


def passage(start: int, end: int, *, page: int | None = 7) -> Passage:
    return Passage(uuid4(), uuid4(), "Cells", TEXT[start:end], 0.5, page, page, start, end)


SPLIT = TEXT.index("Chloroplasts")
PASSAGES = [passage(0, SPLIT), passage(SPLIT, len(TEXT))]


def cite(sentence: str) -> list[Citation]:
    return Attributor(PASSAGES).cite(sentence, 0, len(sentence))


@pytest.mark.parametrize(
    ("sentence", "number", "quote"),
    [
        ("Cells release energy from glucose in mitochondria.", 1, "Mitochondria are the organelles"),
        ("The capital of France is Paris.", 2, "Paris is the capital of France."),
        ("- Chloroplasts absorb light.", 2, "Chloroplasts\nof plants absorb light"),
        ("In 1963 Margit Nass found their DNA.", 1, "Their own DNA was found in 1963 by Margit Nass."),
    ],
)
def test_a_supported_sentence_is_cited_with_exact_words(sentence: str, number: int, quote: str) -> None:
    [citation] = cite(sentence)
    assert citation.number == number
    assert citation.quote.startswith(quote)
    assert TEXT[citation.start : citation.end] == citation.quote
    assert (citation.title, citation.page) == ("Cells", 7)


@pytest.mark.parametrize(
    "sentence",
    [
        "Bananas grow in tropical countries near the equator.",
        "Yes.",
        "In 1964 Margit Nass found their DNA.",
        "The passages do not say when Einstein was born.",
        "Ribosomes make proteins out of amino acids [1].",
        "The capital of Spain is Madrid [9].",
    ],
)
def test_an_unsupported_sentence_is_not_cited(sentence: str) -> None:
    assert cite(sentence) == []


def test_a_marker_counts_where_its_passage_has_something_of_the_sentence() -> None:
    [citation] = cite("Plants turn sunlight into chemical energy inside chloroplasts, a remarkable feat [2].")
    assert citation.number == 2
    assert TEXT[citation.start : citation.end] == citation.quote


def test_a_wrong_marker_gives_way_to_the_passage_that_supports_the_sentence() -> None:
    [citation] = cite("Paris is the capital of France [1].")
    assert citation.number == 2


def test_two_markers_are_two_citations() -> None:
    numbers = [one.number for one in cite("Mitochondria and chloroplasts both deal with energy [1, 2].")]
    assert numbers == [1, 2]


def test_a_sentence_that_joins_two_is_cited_with_both() -> None:
    [citation] = cite("Chloroplasts absorb light, and Paris is the capital of France.")
    assert citation.quote == TEXT[SPLIT:]


@pytest.mark.parametrize(
    ("heading", "body", "quote"),
    [
        ("Where the calculation of sugar happens", "It is in the stroma that sugar is made.", 1),
        ("How do plants make sugar in the stroma?", "Plants make sugar there, in the stroma.", 1),
        ("2.1 Plants make sugar in the stroma", "The stroma is where they make sugar.", 1),
        ("Plants make sugar in the stroma", "France was ruled by kings.", 0),
    ],
)
@pytest.mark.parametrize("marker", ["", " [1]"])
def test_a_heading_is_quoted_only_where_no_sentence_supports_the_claim(
    heading: str, body: str, quote: int, marker: str
) -> None:
    text = f"{heading}\n\n{body} Another sentence stands here."
    given = Passage(uuid4(), uuid4(), "Plants", text, 0.5, 7, 7, 0, len(text))
    claim = f"Plants make sugar in the stroma{marker}."
    [citation] = Attributor([given]).cite(claim, 0, len(claim))
    assert citation.quote == (heading, body)[quote]


def test_a_quote_does_not_run_into_the_next_heading() -> None:
    body = "It is the stroma where they make sugar."
    text = f"Light falls.\n\n{body}\n\nPlants in the stroma\n\nFrance was ruled by kings."
    given = Passage(uuid4(), uuid4(), "Plants", text, 0.5, 7, 7, 0, len(text))
    [citation] = Attributor([given]).cite("Plants make sugar in the stroma.", 0, 32)
    assert citation.quote == body


def test_no_passages_no_citations() -> None:
    assert Attributor([]).cite("Paris is the capital of France.", 0, 31) == []


def test_sentences_of_a_passage_cover_its_visible_text() -> None:
    spans = [TEXT[start:end] for start, end in sentence_spans(TEXT)]
    assert "They have two membranes, e.g. an inner one that is folded." in spans
    assert "".join("".join(spans).split()) == "".join(TEXT.split())


ANSWER = 'It is so. [1] Dr. Who said "no!" [2]\n1. First\n2. Second thing, e.g. this. 她走了。他来了。 End'
SENTENCES = [
    "It is so. [1]",
    'Dr. Who said "no!" [2]',
    "1. First",
    "2. Second thing, e.g. this.",
    "她走了。",
    "他来了。",
    "End",
]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_an_answer_is_cut_the_same_however_it_arrives(size: int) -> None:
    reader = SentenceReader()
    found = [one for at in range(0, len(ANSWER), size) for one in reader.feed(ANSWER[at : at + size])]
    found += reader.finish()
    assert [sentence for _, _, sentence in found] == SENTENCES
    assert all(ANSWER[start:end] == sentence for start, end, sentence in found)

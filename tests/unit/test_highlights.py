"""What of a passage is shown as its answer."""

import pytest

from little_monster.platform.services.highlights import Highlighter

TEXT = "Cells divide. Universities study how a mitochondrion makes energy! Energy is conserved."


def _words(query: str, text: str) -> list[str]:
    return [text[start:end] for start, end in Highlighter(query).mark(text).matches]


def test_matched_words_in_any_form() -> None:
    assert _words("What is the energy of a dividing cell?", TEXT) == ["Cells", "divide", "energy", "Energy"]
    assert _words("kings of France", TEXT) == []


def test_empty_words_do_not_match() -> None:
    assert _words("how is a", TEXT) == []


def test_ranges_hold_in_texts_whose_case_changes_their_length() -> None:
    assert _words("straße", "İİ STRASSE and straße") == ["STRASSE", "straße"]


def test_scripts_without_spaces_match_by_pairs() -> None:
    assert _words("光合作用", "植物は光合作用を行う") == ["光合作用"]


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("How do plants make energy?\n\nLight\n\nPlants take it in.", "Plants take it in."),
        ("Energy of plants\n\nKings ruled France.", "Energy of plants"),
        ("- energy of plants\n\nPlants grow.", "- energy of plants"),
        ("The energy of plants:\n\nPlants grow.", "The energy of plants:"),
        ("Plants grow.\n\nEnergy of plants", "Energy of plants"),
        ("Kings ruled. Energy of plants\n\nPlants grow.", "Energy of plants"),
    ],
)
def test_a_heading_is_quoted_only_where_nothing_else_is(text: str, quote: str) -> None:
    found = Highlighter("How do plants make energy?").mark(text).quote
    assert found is not None
    assert text[slice(*found)] == quote


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("energy of mitochondrion", "Universities study how a mitochondrion makes energy!"),
        ("conserved energy", "Energy is conserved."),
        ("division", None),
        ("cells energy", "Cells divide."),
    ],
)
def test_the_quote_is_the_first_sentence_with_most_words(query: str, sentence: str | None) -> None:
    found = Highlighter(query).mark(TEXT).quote
    assert (found and TEXT[slice(*found)]) == sentence

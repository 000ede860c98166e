"""Sparse vectors whose product is BM25."""

import math

import pytest

from little_monster.platform.engines import bm25


def _product(query: str, text: str) -> float:
    weights = dict(zip(*_pair(bm25.encode(text)), strict=True))
    return sum(
        value * weights.get(index, 0.0) for index, value in zip(*_pair(bm25.encode_query(query)), strict=True)
    )


def _pair(vector: object) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return vector.indices, vector.values  # type: ignore[attr-defined]


def test_the_product_is_robertsons_formula() -> None:
    text = "energy " * 3 + "word " * 61
    k1, b, length, mean, frequency = 1.2, 0.75, 64, 64, 3
    expected = frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * length / mean))
    assert _product("energy", text) == pytest.approx(expected)
    assert _product("energy energy", text) == pytest.approx(2 * expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("running", "RUNS"),
        ("cells", "cell"),
        ("universities", "university"),
        ("Straße", "STRASSE"),
        ("H2O", "h2o"),
    ],
)
def test_forms_of_a_word_are_one_term(one: str, other: str) -> None:
    assert _product(one, other) > 0


def test_words_that_differ_share_nothing() -> None:
    assert _product("photosynthesis", "mitosis") == 0


def test_a_text_without_content_is_empty() -> None:
    for text in ("", "the of and", "...", "__"):
        assert bm25.encode(text).indices == ()


def test_indices_are_distinct_and_of_32_bits() -> None:
    vector = bm25.encode(" ".join(f"term{number}" for number in range(5_000)) + " 光合作用を光合")
    assert len(vector.indices) == len(set(vector.indices)) == len(vector.values)
    assert all(0 <= index < 2**32 for index in vector.indices)
    assert all(value > 0 and math.isfinite(value) for value in vector.values)


def test_ids_are_the_same_in_every_process() -> None:
    # They are stored: another hash would make every stored passage unfindable.
    assert bm25.encode_query("Mitochondria").indices == (3471828112,)


@pytest.mark.parametrize(
    "text",
    [
        "concatenate cat",
        "cat concatenate, Cat's category: a cat. CATS",
        "cat_cat cats\tcat\ncat-flap x2cat cat2",
        "",
        "nothing of it",
        "Straße STRASSE strasse Éclair éclair e\u0301clair",
        "the cells of the cell divide; celled excel cell",
        "細胞は生命の単位 cat 細胞",
        "ﬁnd İstanbul ǅ cat\u00a0cat\u200bcat",
    ],
)
def test_what_is_found_are_the_terms_that_are_wanted(text: str) -> None:
    wanted = {"cat", "cell", "strass", "éclair", "細胞"}
    assert bm25.find(wanted, text) == [term for term in bm25.terms(text) if term[2] in wanted]
    assert bm25.find(set(), text) == []


def test_a_word_inside_another_is_not_found() -> None:
    assert bm25.find({"cat"}, "concatenate cat") == [(12, 15, "cat")]

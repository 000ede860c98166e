"""BM25 in two sparse vectors: the product of a text's and a query's, weighed by the rarity of terms, is the
score.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009). What a text's side
holds is the saturated frequency of each term; what makes a term count more the rarer it is (IDF), the index
knows and multiplies in. Terms are the Snowball stems of words, as 32 bit hashes.
"""

import re
from collections import Counter
from collections.abc import Iterator, Set
from functools import lru_cache
from zlib import crc32

import Stemmer

from little_monster.db.vectors.index import SparseVector

# What is usual for most collections.
_K1, _B = 1.2, 0.75
# Terms of a passage that counts as neither short nor long: some 130 tokens without the empty words, half of
# what a model of 256 reads. A true mean would change with each document, and with it all other weights.
_AVERAGE_TERMS = 64

_WORD = re.compile(r"[^\W_]+")
_SCRIPT_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")

# English words that carry no content.
_EMPTY_WORDS = """
    a about above after again against all am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her
    here hers herself him himself his how i if in into is it its itself just me more most my myself no nor not
    of off on once only or other our ours ourselves out over own s same she should so some such t than that
    the their theirs them themselves then there these they this those through to too under until up very was
    we were what when where which while who whom why will with would you your yours yourself yourselves
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())

Term = tuple[int, int, str]
"""Where a term stands in a text (start, end), and the term."""


def encode(text: str) -> SparseVector:
    """Return the terms of a text with their saturated frequencies."""
    counts = _counts(text)
    length = _K1 * (1 - _B + _B * counts.total() / _AVERAGE_TERMS)
    weights = (count * (_K1 + 1) / (count + length) for count in counts.values())
    return SparseVector(tuple(counts), tuple(weights))


def encode_query(text: str) -> SparseVector:
    """Return the terms of a query, each as often as it is asked for."""
    counts = _counts(text)
    return SparseVector(tuple(counts), tuple(map(float, counts.values())))


def terms(text: str) -> Iterator[Term]:
    """Yield the terms of a text in order. A script without spaces gives every pair of characters."""
    spaced = _SCRIPT_WITHOUT_SPACES.search(text) is None
    for match in _WORD.finditer(text):
        word = match.group()
        if spaced or not _SCRIPT_WITHOUT_SPACES.search(word):
            if stem := _stem(word):
                start, end = match.span()
                yield start, end, stem
        else:
            yield from _pairs(word, match.start())


def find(wanted: Set[str], text: str) -> list[Term]:
    """Return those terms of a text that are wanted, in order; as `terms`, but quicker where they are few."""
    if _SCRIPT_WITHOUT_SPACES.search(text):
        return [term for term in terms(text) if term[2] in wanted]
    words = {word: stem for word in {*_WORD.findall(text)} if (stem := _stem(word)) in wanted}
    return sorted((*span, stem) for word, stem in words.items() for span in _places(word, text))


def _places(word: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a word stands in a text by itself, as `_WORD` would find it."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            yield start, end
        start = text.find(word, start + 1)


def _pairs(word: str, start: int) -> Iterator[Term]:
    for at in range(max(len(word) - 1, 1)):
        pair = word[at : at + 2]
        yield start + at, start + at + len(pair), pair.casefold()


def _counts(text: str) -> Counter[int]:
    return Counter(crc32(term.encode()) for _, _, term in terms(text))


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    """Return the stem of a word, nothing of an empty one."""
    word = word.casefold()
    return "" if word in _EMPTY else str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")

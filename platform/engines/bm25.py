"""BM25 in two sparse vectors: the product of a text's and a query's, weighed by the rarity of terms, is the
score.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009). What a text's side
holds is the saturated frequency of each term; what makes a term count more the rarer it is (IDF), the index
knows and multiplies in. Terms are the Snowball stems of words, as 32 bit hashes.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from zlib import crc32

import Stemmer

from little_monster.db.vectors.index import SparseVector

# What Robertson and others name as good for most collections.
_K1, _B = 1.2, 0.75
# Words of a passage that counts as neither short nor long. A true mean would change with each document, and
# with it the weights of all others.
_AVERAGE_TERMS = 128

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


def encode(text: str) -> SparseVector:
    """Return the terms of a text with their saturated frequencies."""
    counts = Counter(_ids(text))
    length = _K1 * (1 - _B + _B * counts.total() / _AVERAGE_TERMS)
    weights = (count * (_K1 + 1) / (count + length) for count in counts.values())
    return SparseVector(tuple(counts), tuple(weights))


def encode_query(text: str) -> SparseVector:
    """Return the terms of a query, each once for every time that it is asked for."""
    counts = Counter(_ids(text))
    return SparseVector(tuple(counts), tuple(map(float, counts.values())))


def _ids(text: str) -> Iterator[int]:
    for match in _WORD.finditer(text.casefold()):
        for term in terms(match.group()):
            yield crc32(term.encode())


@lru_cache(maxsize=50_000)
def terms(word: str) -> tuple[str, ...]:
    """Return the terms of a word in lower case: its stem, none of an empty word, and of a script without
    spaces each pair of characters."""
    if _SCRIPT_WITHOUT_SPACES.search(word):
        return tuple(word[at : at + 2] for at in range(max(len(word) - 1, 1)))
    return () if word in _EMPTY else (_stemmer().stemWord(word),)


@lru_cache(maxsize=1)
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")

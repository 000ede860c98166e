"""The words of a text that carry its content, as they are compared between an answer and its sources."""

import re

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SCRIPT_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_SUFFIXES = ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s")
_SHORTEST_STEM = 4

# English words without content. Negations are not among them: they change what a sentence says.
_EMPTY_WORDS = """
    a about also an and any are as at be because been being between both but by can could did do does
    each for from had has have he her here his how i if in into is it its itself like made make many may
    might more most much of on one only or other our over own same she should so some such than that the
    their them then there these they this those through to under up use used using very was we were what
    when where which while who why will with would you your
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())


def content_words(text: str) -> frozenset[str]:
    """Return the stems of the words that carry content; scripts without spaces give pairs of characters."""
    words: set[str] = set()
    for word in _WORD.findall(text.casefold()):
        if _SCRIPT_WITHOUT_SPACES.search(word):
            words.update(word[at : at + 2] for at in range(max(len(word) - 1, 1)))
        elif word not in _EMPTY and (len(word) > 1 or word.isdigit()):
            words.add(_stem(word))
    return frozenset(words)


def numbers(text: str) -> frozenset[str]:
    """Return the numbers that stand in a text, as they are written."""
    return frozenset(_NUMBER.findall(text))


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return word[: -len(suffix)].rstrip("e")
    return word.rstrip("e") if len(word) > _SHORTEST_STEM else word

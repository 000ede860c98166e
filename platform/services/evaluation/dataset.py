"""Folders in the form of BEIR (https://github.com/beir-cellar/beir): passages, questions, and what answers
what.

corpus.jsonl                      {"_id": "d1", "title": "Cells", "text": "..."} a line
queries.jsonl                     {"_id": "q1", "text": "..."} a line
qrels.tsv, or qrels/test.tsv      query-id, corpus-id and score, split by tabs, under a line of headings
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from little_monster.platform.errors import BrokenDataset

_QRELS: Final = ("qrels.tsv", "qrels/test.tsv")
_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One text of the corpus; `title` may be empty."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus by id, questions by id, and the grades of what answers them: question to corpus id to a number
    above 0. Every question has an answer. `strays` counts the judgements that name a text or a question that
    is not there: such a text counts as one that is never found, as trec_eval has it."""

    name: str
    corpus: Mapping[str, Entry]
    questions: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    strays: int = 0

    def first(self, count: int) -> "Dataset":
        """Return the first `count` texts, with the questions that they answer: less to confuse them with, so
        the numbers are higher than those of the whole.

        Raises:
            BrokenDataset: they answer no question.
        """
        corpus = dict(list(self.corpus.items())[:count])
        grades = {
            question: kept
            for question, those in self.grades.items()
            if (kept := {key: grade for key, grade in those.items() if key in corpus})
        }
        if not grades:
            raise BrokenDataset(f"{self.name}: the first {count} texts answer no question")
        questions = {key: text for key, text in self.questions.items() if key in grades}
        return Dataset(self.name, corpus, questions, grades)


def read_dataset(folder: Path) -> Dataset:
    """Read a folder. Questions without an answer are left out, as BEIR and trec_eval do it.

    Raises:
        BrokenDataset: a file is missing, or a line of it cannot be read; the message names both.
    """
    corpus = {key: Entry(_text(row, "title"), text) for key, text, row in _rows(folder / "corpus.jsonl")}
    questions = {key: text for key, text, _ in _rows(folder / "queries.jsonl")}
    path = _qrels(folder)
    grades: dict[str, dict[str, int]] = {}
    strays = 0
    for question, key, grade in _judgements(path):
        strays += question not in questions or key not in corpus
        if grade > 0 and question in questions:
            grades.setdefault(question, {})[key] = grade
    if not any(key in corpus for those in grades.values() for key in those):
        raise BrokenDataset(f"{path}: no judgement names a question and a text that are there")
    asked = {key: text for key, text in questions.items() if key in grades}
    return Dataset(folder.resolve().name, corpus, asked, grades, strays)


def _qrels(folder: Path) -> Path:
    path = next((folder / name for name in _QRELS if (folder / name).is_file()), None)
    if path is None:
        raise BrokenDataset(f"{folder}: there is neither {' nor '.join(_QRELS)}")
    return path


def _rows(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (id, text, the whole line)."""
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError:
            raise BrokenDataset(f"{path}:{number}: no JSON") from None
        key = row.get("_id") if isinstance(row, dict) else None
        if not isinstance(key, str | int) or not isinstance(row.get("text"), str):
            raise BrokenDataset(f"{path}:{number}: needs `_id` and a `text`")
        if str(key) in seen:
            raise BrokenDataset(f"{path}:{number}: the `_id` {key} is there twice")
        seen.add(str(key))
        yield str(key), row["text"], row
    if not seen:
        raise BrokenDataset(f"{path}: is empty")


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, line in _lines(path):
        cells = line.split("\t")
        if len(cells) != _COLUMNS:
            raise BrokenDataset(f"{path}:{number}: needs a query-id, a corpus-id and a score, split by tabs")
        try:
            grade = int(float(cells[2]))
        except (ValueError, OverflowError):
            if number == 1:  # The headings.
                continue
            raise BrokenDataset(f"{path}:{number}: the score {cells[2]!r} is no number") from None
        yield cells[0], cells[1], grade


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except FileNotFoundError:
        raise BrokenDataset(f"{path}: there is no such file") from None
    except OSError as error:
        raise BrokenDataset(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BrokenDataset(f"{path}: is not UTF-8") from None


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""

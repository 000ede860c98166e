"""Folders of passages and questions, whole and broken."""

from pathlib import Path

import pytest

from little_monster.platform.errors import BrokenDataset
from little_monster.platform.services.evaluation.dataset import Entry, read_dataset

CORPUS = (
    '{"_id": "d1", "title": "Cells", "text": "They divide."}\n{"_id": 2, "text": "Kings.", "metadata": {}}\n'
)
QUERIES = '{"_id": "q1", "text": "What divides?"}\n\n{"_id": "q2", "text": "Who ruled?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\n"


def folder(path: Path, qrels: str = "qrels.tsv", **files: str) -> Path:
    (path / qrels).parent.mkdir(parents=True, exist_ok=True)
    for name, text in {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, qrels: QRELS, **files}.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv"])
def test_a_folder_is_read(tmp_path: Path, qrels: str) -> None:
    dataset = read_dataset(folder(tmp_path, qrels))
    assert dataset.name == tmp_path.name
    assert dataset.corpus == {"d1": Entry("Cells", "They divide."), "2": Entry("", "Kings.")}
    assert dataset.questions == {"q1": "What divides?"}, "q2 has no answer"
    assert dataset.grades == {"q1": {"d1": 2}}
    assert dataset.strays == 0


def test_windows_lines_and_no_headings(tmp_path: Path) -> None:
    dataset = read_dataset(folder(tmp_path, **{"qrels.tsv": "q1\td1\t1\r\nq2\t2\t1.0\r\n"}))
    assert dataset.grades == {"q1": {"d1": 1}, "q2": {"2": 1}}


def test_judgements_of_what_is_not_there_are_counted(tmp_path: Path) -> None:
    dataset = read_dataset(folder(tmp_path, **{"qrels.tsv": "q1\td1\t1\nq1\td9\t1\nq9\td1\t1\n"}))
    assert dataset.strays == 2
    assert dataset.grades == {"q1": {"d1": 1, "d9": 1}}, "a text that is not there cannot be found"


def test_the_first_texts_keep_their_questions(tmp_path: Path) -> None:
    dataset = read_dataset(folder(tmp_path, **{"qrels.tsv": "q1\td1\t1\nq1\t2\t1\nq2\t2\t1\n"})).first(1)
    assert ([*dataset.corpus], [*dataset.questions]) == (["d1"], ["q1"])
    assert dataset.grades == {"q1": {"d1": 1}}


def test_the_first_texts_must_answer_a_question(tmp_path: Path) -> None:
    dataset = read_dataset(folder(tmp_path, **{"qrels.tsv": "q2\t2\t1\n"}))
    with pytest.raises(BrokenDataset, match="the first 1 texts answer no question"):
        dataset.first(1)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"corpus.jsonl": ""}, r"corpus\.jsonl: is empty"),
        ({"corpus.jsonl": CORPUS + "{"}, r"corpus\.jsonl:3: no JSON"),
        ({"corpus.jsonl": '{"_id": "d1"}'}, r"corpus\.jsonl:1: needs `_id` and a `text`"),
        ({"corpus.jsonl": "[1]"}, r"corpus\.jsonl:1: needs"),
        ({"corpus.jsonl": CORPUS + CORPUS}, r"corpus\.jsonl:3: the `_id` d1 is there twice"),
        ({"queries.jsonl": '{"text": "no id"}'}, r"queries\.jsonl:1: needs"),
        ({"qrels.tsv": QRELS + "q1 d1 1"}, r"qrels\.tsv:4: needs a query-id"),
        ({"qrels.tsv": QRELS + "q1\td1\tyes"}, r"qrels\.tsv:4: the score 'yes' is no number"),
        ({"qrels.tsv": QRELS + "q1\td1\tinf"}, r"qrels\.tsv:4: the score"),
        ({"qrels.tsv": "q1\td9\t1"}, r"qrels\.tsv: no judgement names"),
        ({"qrels.tsv": ""}, r"qrels\.tsv: no judgement names"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(BrokenDataset, match=told):
        read_dataset(folder(tmp_path, **files))


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (folder(tmp_path) / name).unlink()
    with pytest.raises(BrokenDataset, match=f"{name}: there is no such file"):
        read_dataset(tmp_path)


def test_missing_judgements_are_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "qrels.tsv").unlink()
    with pytest.raises(BrokenDataset, match=r"neither qrels\.tsv nor qrels/test\.tsv"):
        read_dataset(tmp_path)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "corpus.jsonl").write_bytes(CORPUS.encode("utf-16"))
    with pytest.raises(BrokenDataset, match=r"corpus\.jsonl: is not UTF-8"):
        read_dataset(tmp_path)

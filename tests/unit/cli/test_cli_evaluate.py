"""`little-monster evaluate`, against an API that reads and searches in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from little_monster.pipelines.stages.parse import parse
from little_monster.platform.cli import corpus_uploads, main
from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.corpus_files import CorpusFormat, write_file
from little_monster.platform.services.evaluation.dataset import Entry

from .test_cli_client import TOKENS, URL

TEXTS = {
    "d1": ("Cells", "Mitochondria make energy."),
    "d2": ("", "Kings ruled France."),
    "d3": ("", "Kings ruled France."),
    "d4": ("Nothing", " "),
    "d5": ("", "A bad file."),
}
QUESTIONS = {"q1": "what makes energy", "q2": "who ruled", "q3": "what is bad"}
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t1\nq3\td5\t1\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    corpus = [{"_id": key, "title": title, "text": text} for key, (title, text) in TEXTS.items()]
    questions = [{"_id": key, "text": text} for key, text in QUESTIONS.items()]
    for name, rows in (("corpus", corpus), ("queries", questions)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "qrels.tsv").write_text(QRELS)
    return tmp_path


class Api:
    """Reads a file at the second look at it, refuses every fifth request at first, and finds by words."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.looks = self.asked = 0
        self.deleted: dict[str, str] | None = None
        self.names: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked % 5 == 0:
            problem = {"code": "rate_limited", "detail": "Too many."}
            return httpx.Response(429, json=problem, headers={"Retry-After": "0"})
        path = request.url.path.rpartition("/")[2]
        body: Any = getattr(self, f"_{path}")(request)
        return httpx.Response(204 if body is None else 200, json=body)

    def _register(self, request: httpx.Request) -> Any:
        return {"tokens": TOKENS}

    def _upload(self, request: httpx.Request) -> Any:
        head, _, rest = request.read().rpartition(b"\r\n\r\n")
        text = rest.rpartition(b"\r\n--")[0].decode()
        self.names.append(head.decode().rpartition('filename="')[2].partition('"')[0])
        key = str(len(self.documents) + 1)
        known = {text: key for key, text in self.documents.items()}
        self.documents.setdefault(known.get(text, key), text)
        return {"document": {"id": known.get(text, key)}, "job": None}

    def _documents(self, request: httpx.Request) -> Any:
        status = request.url.params["status"]
        self.looks += status == "processing"
        pending = [{"id": "1"}] if status == "pending" and self.looks == 1 else []
        failed = [{"error": {"reason": "It is damaged."}}] if status == "failed" else []
        return {"items": pending + failed, "next_cursor": None}

    def _search(self, request: httpx.Request) -> Any:
        words = set(json.loads(request.read())["query"].split())
        ranked = sorted(self.documents.items(), key=lambda one: -len(words & {*one[1].split()}))
        return {"items": [{"document_id": key} for key, text in ranked if "bad" not in text]}

    def _me(self, request: httpx.Request) -> Any:
        assert request.method == "DELETE"
        self.deleted = json.loads(request.read())


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    fake = Api()
    session = SimpleNamespace(client=lambda keeper: ApiClient(URL, keeper, httpx.MockTransport(fake)))
    monkeypatch.setattr("little_monster.platform.cli.evaluate.open_session", lambda: session)
    monkeypatch.setattr(corpus_uploads, "_LOOK_S", 0)
    yield fake
    assert fake.deleted is not None, "the account is deleted"
    assert fake.deleted["password"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main.app, ["evaluate", *arguments])


def test_a_dataset_is_uploaded_asked_and_scored(dataset: Path, api: Api) -> None:
    result = run("--dataset", str(dataset), "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    # q1 is found first, q2 second behind the same text, q3 not at all.
    assert report["scores"] == {
        "k": 10,
        "questions": 3,
        "ndcg": pytest.approx((1 + 0.6309) / 3, abs=1e-4),
        "recall": pytest.approx(2 / 3),
        "mrr": pytest.approx(0.5),
    }
    assert report["documents"] == 3, "d3 is the same as d2, and d4 has no text"
    assert report["failures"] == {"It is damaged.": 1}
    assert report["refusals"] > 0
    assert result.stderr.count("sets the pace") == 1
    assert 0 < report["search_p50_ms"] <= report["search_p95_ms"]
    assert all(name.startswith("text-") and name.endswith(".txt") for name in api.names), "no id is told"


def test_a_low_score_fails(dataset: Path, api: Api) -> None:
    result = run("--dataset", str(dataset), "--min-ndcg", "0.9")
    assert result.exit_code == 1
    assert "nDCG@10" in result.output
    assert "less than 0.9" in result.output
    assert "It is damaged." in result.output


def test_the_first_texts_only(dataset: Path, api: Api) -> None:
    report = json.loads(run("--dataset", str(dataset), "--limit", "1", "--json").stdout)
    assert (report["documents"], report["scores"]["questions"], report["scores"]["ndcg"]) == (1, 1, 1)


def test_the_account_goes_also_when_the_search_fails(
    dataset: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Api, "_search", lambda *_: 1 / 0)
    assert isinstance(run("--dataset", str(dataset)).exception, Exception)


def test_ingestion_that_stands_still_ends(dataset: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_uploads, "_STANDSTILL_S", -1)
    monkeypatch.setattr(Api, "_documents", lambda *_: {"items": [{}] * 3, "next_cursor": None})
    assert isinstance(run("--dataset", str(dataset)).exception, corpus_uploads.IngestionStopped)


HARD = Entry(
    "1. *Sets* & <maps>",
    "# No heading\n\n3) no number; a_b_c, `x`, [1], 5 < 6 > 4\x01\uffff\n\n> No | quote \u2014 γράμμα",
)


@pytest.mark.parametrize("kind", CorpusFormat)
def test_every_format_says_what_the_text_says(kind: CorpusFormat) -> None:
    read = parse(write_file(HARD, kind), kind.value).text
    assert read.split() == f"{HARD.title} {HARD.text}".replace("\x01\uffff", "").split()

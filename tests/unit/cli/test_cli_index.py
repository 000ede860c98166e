"""`little-monster verify` and `reembed`: what they ask for, what they print, and how they end."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from little_monster.platform.cli import main
from little_monster.platform.cli.client import ApiClient

from .test_cli_client import URL, keeper

COUNTS = {
    "documents": 1200,
    "passages": 24000,
    "points": 24002,
    "files": 1200,
    "points_without_passage": 0,
    "passages_without_point": 0,
    "points_of_another_owner": 0,
    "files_without_row": 0,
    "rows_without_file": 0,
    "overdue_changes": 0,
}
LIVE = {"name": "passages-1", "state": "live", "model": "large", "dimension": 96}
OLD = {"name": "passages", "state": "previous", "model": "small", "dimension": 64}


class Api:
    """Queues a job and shows it twice: under way, and at its end. `busy` says that one is under way."""

    def __init__(self, end: dict[str, Any], *, busy: bool = False) -> None:
        self.end, self.busy, self.sent, self.looks = end, busy, [], 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        running = {"id": "j", "kind": "reembed", "status": "running", "progress": 0.5, "stage": "embedding"}
        if request.method == "POST":
            self.sent.append((request.url.path, json.loads(request.content)))
            if self.busy:
                return httpx.Response(409, json={"code": "change_under_way", "detail": "One is under way."})
            return httpx.Response(202, json={**running, "status": "queued", "progress": 0.0})
        if request.url.path == "/api/v1/jobs":
            return httpx.Response(200, json={"items": [{**running, "status": "completed"}, running]})
        if request.url.path == "/api/v1/admin/index/collections":
            return httpx.Response(200, json={"items": [LIVE, OLD]})
        self.looks += 1
        return httpx.Response(200, json=running if self.looks == 1 else {**running, **self.end})


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("little_monster.platform.cli.jobs._POLL_S", 0.0)


def run(monkeypatch: pytest.MonkeyPatch, api: Api, verb: str, *arguments: str) -> Any:
    session = SimpleNamespace(client=lambda: ApiClient(URL, keeper(), httpx.MockTransport(api)))
    monkeypatch.setattr(f"little_monster.platform.cli.{verb}.open_session", lambda: session)
    return CliRunner().invoke(main.app, [verb, *arguments])


def test_no_drift_is_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({"status": "completed", "result": {**COUNTS, "drift": 0}})
    result = run(monkeypatch, api, "verify")
    assert result.exit_code == 0, result.output
    assert api.sent == [("/api/v1/admin/index/verifications", {"repair": False})]
    assert "1,200 documents, 24,000 passages, 24,002 points" in result.output
    assert "no drift" in result.output


@pytest.mark.parametrize(("more", "said"), [([], "--repair"), (["--repair"], "was repaired")])
def test_drift_is_status_1(monkeypatch: pytest.MonkeyPatch, more: list[str], said: str) -> None:
    api = Api({"status": "completed", "result": {**COUNTS, "points_without_passage": 2, "drift": 2}})
    result = run(monkeypatch, api, "verify", *more)
    assert result.exit_code == 1
    assert api.sent[0][1] == {"repair": bool(more)}
    assert "2 differences" in result.output
    assert said in result.output


def test_a_check_that_failed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({"status": "failed", "error": {"code": "x", "reason": "The index does not answer."}})
    result = run(monkeypatch, api, "verify")
    assert (result.exit_code, "The index does not answer." in result.output) == (1, True)


def test_a_change_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    done = {"collection": "passages-1", "model": "large", "ndcg_old": 0.9, "ndcg_new": 0.95}
    api = Api({"status": "completed", "progress": 1.0, "result": done})
    result = run(monkeypatch, api, "reembed", "--model", "model", "--dataset", "set", "--tolerance", "0.02")
    assert result.exit_code == 0, result.output
    body = {
        "action": "reembed",
        "model": str(tmp_path / "model"),
        "dataset": str(tmp_path / "set"),
        "tolerance": 0.02,
    }
    assert api.sent == [("/api/v1/admin/index/changes", body)]
    assert "passages-1 is live, with large; nDCG@10 0.9500, before 0.9000" in result.output


@pytest.mark.parametrize("option", ["rebuild", "rollback", "drop-old"])
def test_the_other_changes(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    done = {"dropped": "passages"} if option == "drop-old" else {"collection": "passages", "model": "small"}
    api = Api({"status": "completed", "result": done})
    result = run(monkeypatch, api, "reembed", f"--{option}")
    assert result.exit_code == 0, result.output
    assert api.sent[0][1] == {"action": option.replace("-", "_")}


def test_a_change_that_is_under_way_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"collection": "passages-1", "model": "large"}
    api = Api({"status": "completed", "result": done}, busy=True)
    result = run(monkeypatch, api, "reembed", "--model", "large")
    assert result.exit_code == 0, result.output
    assert "passages-1 is live" in result.output


def test_a_refused_change_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "nDCG@10 of dull is 0.1250, of small 1.0000"
    api = Api({"status": "failed", "error": {"code": "worse_model", "reason": reason}})
    result = run(monkeypatch, api, "reembed", "--model", "dull")
    assert (result.exit_code, reason in result.output) == (1, True)


def test_without_options_the_collections_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({})
    result = run(monkeypatch, api, "reembed")
    assert (result.exit_code, api.sent) == (0, [])
    assert ["passages-1", "live", "large", "96"] in [line.split() for line in result.output.splitlines()]


def test_one_change_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Api({}), "reembed", "--rebuild", "--rollback")
    assert result.exit_code == 2

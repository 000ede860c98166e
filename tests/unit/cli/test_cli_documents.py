"""The verbs of one's documents: list, download, read anew."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from little_monster.platform.cli import main, reprocess
from little_monster.platform.cli.client import ApiClient

from .test_cli_client import URL, keeper

ONE, TWO = "0197f3a0-5c1e-7d3a-9b1f-000000000001", "0197f3a0-5c1e-7d3a-9b1f-000000000002"

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a verb against an API that gives an answer, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(answer: Answer, *arguments: str) -> Any:
        session = SimpleNamespace(client=lambda: ApiClient(URL, keeper(), httpx.MockTransport(answer)))
        verb = f"little_monster.platform.cli.{arguments[0]}.open_session"
        monkeypatch.setattr(verb, lambda: session)
        return CliRunner().invoke(main.app, [*arguments])

    return run


def test_documents_are_listed_with_their_ids(call: Callable[..., Any]) -> None:
    document = {
        "id": ONE,
        "title": "Cells",
        "file_type": "pdf",
        "status": "completed",
        "pages": 3,
        "chunk_count": 7,
        "error": None,
        "created_at": "2026-01-01T00:00:00Z",
    }
    printed = call(lambda _: httpx.Response(200, json={"items": [document]}), "documents")
    assert ONE[:13] in printed.output.replace("\n", "")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename=\"U.txt\"; filename*=UTF-8''%C3%9Cber%20Zellen.txt", "Über Zellen.txt"),
        ('attachment; filename="../../cells.txt"', "cells.txt"),
        ('attachment; filename=".."', "document"),
        ("", "document"),
    ],
)
def test_a_file_is_saved_under_its_name(
    call: Callable[..., Any], tmp_path: Path, disposition: str, name: str
) -> None:
    headers = {"Content-Disposition": disposition} if disposition else {}
    result = call(lambda _: httpx.Response(200, content=b"text", headers=headers), "download", ONE)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"text"


def test_nothing_is_overwritten(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    result = call(lambda _: httpx.Response(200, content=b"text"), "download", ONE, "-o", "mine")
    assert result.exit_code == 2
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_missing_document_leaves_no_file(call: Callable[..., Any], tmp_path: Path) -> None:
    result = call(lambda _: httpx.Response(404, json={"code": "document_not_found"}), "download", ONE)
    assert result.exit_code == 1
    assert [*tmp_path.iterdir()] == []


def test_documents_are_read_anew_to_the_end(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reprocess, "_POLL_S", 0)
    looks: dict[str, int] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        document = request.url.path.split("/")[4]
        if request.method == "POST":
            return httpx.Response(202, json={"id": document, "status": "queued"})
        looks[document] = looks.get(document, 0) + 1
        ended = {ONE: "completed", TWO: "failed"}[document]
        job = {"id": document, "status": ended if looks[document] > 1 else "running", "error": None}
        if job["status"] == "failed":
            job["error"] = {"reason": "It needs a password."}
        return httpx.Response(200, json=job)

    result = call(answer, "reprocess", ONE, TWO)
    assert result.exit_code == 1
    assert f"completed {ONE}" in result.output
    assert f"failed {TWO} It needs a password." in result.output.replace("\n", " ")
    assert call(answer, "reprocess", ONE).exit_code == 0

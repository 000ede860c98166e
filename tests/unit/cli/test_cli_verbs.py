"""The verbs: what they print, and with which status they end."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from little_monster.platform.cli import main
from little_monster.platform.cli.answers import Answer, ask_and_print, print_sources
from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.demo import QUESTION, sample_files, sample_title
from little_monster.platform.cli.problems import ApiProblem
from little_monster.platform.cli.settings import describe_settings
from little_monster.platform.cli.uploads import (
    MEDIA_TYPES,
    UploadResult,
    find_files,
    results_table,
    state_of,
    upload_all,
)
from little_monster.platform.mail import OutboxMailer
from little_monster.platform.services import letters
from little_monster.platform.settings import Settings

from .test_cli_client import URL, keeper


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LM_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main.app, list(arguments))


def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """Run as from a shell; return the status and what went to standard error."""
    monkeypatch.setattr(sys, "argv", ["little-monster", *arguments])
    with pytest.raises(SystemExit) as raised:
        main.main()
    return int(raised.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    "verb",
    [command.callback.__name__ for command in main.app.registered_commands if command.callback],
)
def test_every_verb_has_help(verb: str) -> None:
    assert verb in run("--help").output
    assert run(verb, "--help").exit_code == 0


def test_every_setting_is_printed_with_its_meaning() -> None:
    described = describe_settings()
    groups = [
        field.default for field in Settings.model_fields.values() if hasattr(field.default, "model_fields")
    ]
    fields = sum(len(type(group).model_fields) for group in groups)
    assert len(described) == fields + len(Settings.model_fields) - len(groups)
    assert [setting.name for setting in described if not setting.help] == []
    printed = run("settings").output
    assert all(setting.name in printed for setting in described)


def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LM_DATABASE__POOL_SIZE", "many")
    status, errors = ended(monkeypatch, capsys, "status")
    assert status == 1
    assert "LM_DATABASE__POOL_SIZE: " in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


def test_asking_without_an_account_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, errors = ended(monkeypatch, capsys, "ask", "why?")
    assert status == 1
    assert "little-monster login" in errors
    assert errors.count("\n") == 1


def test_logging_in_asks_for_the_second_factor_when_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.read()))
        if "totp_code" in bodies[-1]:
            tokens = {"access_token": "a", "refresh_token": "r", "expires_in": 900}
            return httpx.Response(200, json={"tokens": tokens})
        return httpx.Response(401, json={"code": "totp_required", "detail": "A code is needed."})

    session = SimpleNamespace(client=lambda: ApiClient(URL, keeper(), httpx.MockTransport(answer)))
    monkeypatch.setattr("little_monster.platform.cli.login.open_session", lambda: session)
    arguments = ["login", "--email", "ada@example.com", "--password-stdin"]
    result = CliRunner().invoke(main.app, arguments, input="the password\n287082\n")
    assert result.exit_code == 0, result.output
    account = {"email": "ada@example.com", "password": "the password"}
    assert bodies == [account, {**account, "totp_code": "287082"}]


def test_a_failed_stage_is_three_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, errors = ended(monkeypatch, capsys, "migrate")
    assert status == 1
    assert [line.split()[0] for line in errors.splitlines()] == ["✗", "why", "do"]


def test_down_without_a_stack_is_no_error() -> None:
    result = run("down")
    assert result.exit_code == 0
    assert "Nothing runs" in result.output


def test_the_outbox_without_mail() -> None:
    result = run("outbox")
    assert (result.exit_code, result.output.strip()) == (0, "No mail was written here.")


async def test_the_outbox_lists_and_shows(tmp_path: Path) -> None:
    mailer = OutboxMailer(tmp_path / "var" / "outbox")
    for code in ("first", "second"):
        await mailer.send(letters.verification("Monster <m@example.org>", "ada@example.com", code))
    listed = run("outbox").output
    assert listed.count("ada@example.com") == 2
    assert listed.count("Confirm your e-mail address") == 2
    newest, oldest = run("outbox", "1").output, run("outbox", "2").output
    assert "To: ada@example.com" in newest
    assert "    second" in newest.splitlines()
    assert "    first" in oldest.splitlines()
    assert run("outbox", "3").exit_code == 2


def test_there_is_a_sample_of_each_type_and_the_question_is_answered_in_one() -> None:
    samples = sample_files()
    assert {path.suffix for path in samples} == {".pdf", ".docx", ".md", ".txt"}
    assert sample_title(samples[0]) == "Biology: photosynthesis"
    assert "photosynthesis" in QUESTION


def test_folders_are_searched_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    for name in ("a.PDF", "deep/b.md", "deep/c.exe", "deep/.hidden/d.txt", ".e.txt"):
        (folder / name).write_text("text")
    found, left_out = find_files([folder, folder / "a.PDF", tmp_path / "none"])
    assert [path.name for path in found] == ["a.PDF", "b.md"]
    assert [(result.path.name, result.outcome) for result in left_out] == [
        ("c.exe", "skipped"),
        ("none", "failed"),
    ]


def test_what_nobody_lets_us_look_at_is_named_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "locked").mkdir(parents=True)
    for name in ("a.md", "deep/b.md", "deep/locked/c.md", "deep/d.md"):
        (tmp_path / name).write_text("text")
    (tmp_path / "deep" / "back").symlink_to(tmp_path)
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.md")
    real_list, real_stat = Path.iterdir, Path.stat

    def refusing(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        # Root, who may run this, is refused nothing.
        def look(path: Path, **options: bool) -> Any:
            if path.name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, **options)

        return look

    monkeypatch.setattr(Path, "iterdir", refusing(real_list, "locked"))
    monkeypatch.setattr(Path, "stat", refusing(real_stat, "d.md"))
    found, left_out = find_files([tmp_path, tmp_path / "a.md"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.md", "deep/b.md"]
    assert [(str(one.path.relative_to(tmp_path)), one.outcome, one.reason) for one in left_out] == [
        ("deep/d.md", "failed", "Permission denied"),
        ("deep/locked", "failed", "Permission denied"),
        ("gone.md", "failed", "there is no such file or folder"),
        ("pipe.md", "failed", "it is neither a file nor a folder"),
    ]


def document(name: str, status: str, error: dict[str, str] | None = None) -> dict[str, Any]:
    return {"id": name, "title": name, "status": status, "pages": 3, "chunk_count": 7, "error": error}


class Library:
    """An API that reads files, refuses `huge.pdf` at once and `bad.pdf` while it reads it."""

    def __init__(self) -> None:
        self.polls: dict[str, int] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[1]
        if name == "upload":
            return self._upload(request.read())
        if "/jobs/" in request.url.path:
            self.polls[name] = self.polls.get(name, 0) + 1
            ended = self.polls[name] > 1
            status = ("failed" if name == "bad.pdf" else "completed") if ended else "running"
            return httpx.Response(
                200,
                json={"id": name, "status": status, "progress": 0.5, "stage": "embedding", "eta_seconds": 2},
            )
        failure = {"code": "pdf_encrypted", "reason": "It needs a password."} if name == "bad.pdf" else None
        return httpx.Response(200, json=document(name, "failed" if failure else "completed", failure))

    def _upload(self, body: bytes) -> httpx.Response:
        name = body.split(b'filename="')[1].split(b'"')[0].decode()
        if name == "huge.pdf":
            return httpx.Response(413, json={"code": "too_large", "detail": "Too large."})
        if name == "known.txt":
            return httpx.Response(200, json={"document": document(name, "completed"), "job": None})
        job = {"id": name, "status": "queued"}
        return httpx.Response(202, json={"document": document(name, "pending"), "job": job})


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"status": "queued"}, "queued"),
        ({"status": "running", "stage": "parsing", "counts": None, "eta_seconds": None}, "parsing"),
        (
            {"stage": "embedding", "counts": {"done": 32, "total": 120, "unit": "chunks"}, "eta_seconds": 5},
            "embedding 32/120 chunks, 5 s left",
        ),
    ],
)
def test_a_job_is_told_in_one_line(job: dict[str, Any], told: str) -> None:
    assert state_of({"status": "running", **job}) == told


async def test_uploads_are_followed_and_each_ends_with_a_reason(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("good.md", "bad.pdf", "huge.pdf", "known.txt", "gone.txt")]
    for path in paths[:-1]:
        path.write_text("text")
    console = Console(record=True, width=120)
    async with ApiClient(URL, keeper(), httpx.MockTransport(Library())) as client:
        results = await upload_all(client, paths, console)
    assert [(result.path.name, result.outcome) for result in results] == [
        ("good.md", "read"),
        ("bad.pdf", "failed"),
        ("huge.pdf", "failed"),
        ("known.txt", "already there"),
        ("gone.txt", "failed"),
    ]
    console.print(results_table(results))
    printed = console.export_text()
    assert "It needs a password." in printed
    assert "Too large. (too_large)" in printed
    assert set(MEDIA_TYPES) >= {path.suffix for path in paths}


def test_names_and_reasons_are_shown_to_the_letter() -> None:
    console = Console(record=True, width=120)
    results = [UploadResult(Path("[draft] a [/b].pdf"), "failed", "It says [/i].")]
    console.print(results_table(results))
    assert {"[draft] a [/b].pdf", "It says [/i]."} <= {
        cell.strip() for cell in console.export_text().splitlines()[1].split("  ")
    }


STREAM = """event: message
data: {}

event: sources
data: {"sources": [{"number": 1, "document_id": "d", "title": "Biology", "page": 2, "headings": ["Light"], "content": "They take place in the thylakoids."}, {"number": 2, "document_id": "e", "title": "History", "page": null, "headings": [], "content": "Steam."}]}

event: delta
data: {"text": "In the thyla"}

event: delta
data: {"text": "koids [1]."}

event: citation
data: {"number": 1, "document_id": "d", "title": "Biology", "page": 2, "quote": "They take place in the thylakoids.", "start": 0, "end": 34}

event: done
data: {}

"""  # noqa: E501 (one line an event, as on the wire)


def streaming(text: str) -> ApiClient:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/messages"):
            return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})
        return httpx.Response(201, json={"id": "c"})

    return ApiClient(URL, keeper(), httpx.MockTransport(answer))


async def test_an_answer_is_printed_with_its_numbered_sources() -> None:
    console = Console(record=True, width=120)
    async with streaming(STREAM) as client:
        answer = await ask_and_print(client, "where?", console)
    printed = console.export_text()
    assert answer.text == "In the thylakoids [1]."
    assert answer.text in printed
    assert "[1] Biology, page 2" in printed
    assert "“They take place in the thylakoids.”" in printed
    assert "[2] History  (not cited)" in printed


async def test_an_answer_that_breaks_off_is_a_problem() -> None:
    failure = 'event: error\ndata: {"status": 502, "code": "engine_failed"}\n\n'
    broken = 'event: delta\ndata: {"text": "In"}\n\n' + failure
    async with streaming(broken) as client:
        with pytest.raises(ApiProblem, match="engine_failed"):
            await ask_and_print(client, "where?", Console(quiet=True))


def test_an_answer_without_passages_says_so() -> None:
    console = Console(record=True, width=80)
    print_sources(Answer(), console)
    assert "No passage" in console.export_text()


def test_the_openapi_document_is_printed_without_a_stack() -> None:
    printed = run("openapi")
    assert printed.exit_code == 0
    document = json.loads(printed.output)
    assert document["info"]["title"] == "Little Monster"
    assert "patch" in document["paths"]["/api/v1/users/{user_id}"]


def test_seeding_needs_the_owner_of_the_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LM_DATABASE__URL", "postgresql://app@/database")
    status, errors = ended(monkeypatch, capsys, "seed")
    assert status == 1
    assert "LM_DATABASE__OWNER_URL" in errors
    monkeypatch.delenv("LM_DATABASE__URL")
    status, errors = ended(monkeypatch, capsys, "seed")
    assert status == 1
    assert "make up" in errors


def test_comments_are_not_seeded_without_videos() -> None:
    result = run("seed", "--videos", "0", "--comments", "5")
    assert result.exit_code == 2
    assert "comments need videos" in result.output

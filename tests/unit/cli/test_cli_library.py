"""`little-monster ingest --owner`: what it is given, what it shows, and a database that is away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rich.console import Console

from little_monster.db.models.jobs import Job, JobStatus
from little_monster.platform.cli import library
from little_monster.platform.cli.library import Result, order_of, show_result
from little_monster.platform.errors import ConfigurationError, StartupError
from little_monster.platform.settings import Settings

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def shown(status: JobStatus, **values: Any) -> str:
    job = Job(status=status, created_at=BEGUN, started_at=BEGUN, **values)
    console = Console(record=True, width=120)
    show_result(Result(job), console)
    return console.export_text()


def test_files_that_failed_are_named_to_the_letter() -> None:
    failure = {"file": "/books/[old] a [/b].pdf", "code": "pdf_damaged", "reason": "It is [/damaged]."}
    result = {"files": 3, "completed": 1, "skipped": 1, "failed": 1, "cancelled": 0, "failures": [failure]}
    text = shown(JobStatus.COMPLETED, finished_at=BEGUN + timedelta(seconds=2), result=result)
    assert failure["file"] in text
    assert failure["reason"] in text
    assert "3 files in 2 s: 1 read, 1 there before, 1 failed" in text


def test_a_job_that_failed_says_why_to_the_letter() -> None:
    reason = "/books/[old] [/b]: there is no such file or folder"
    text = shown(JobStatus.FAILED, error_reason=reason)
    assert reason in text
    assert "The same command goes on" in text


def test_a_source_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="none: there is no such file or folder"):
        order_of(str(tmp_path / "none"), manifest=False)
    (tmp_path / "m.csv").touch()
    assert order_of(str(tmp_path / "m.csv"), manifest=False).manifest

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(ConfigurationError, match="a: Permission denied"):
        order_of(str(tmp_path / "a"), manifest=False)


async def test_a_database_that_is_away_is_one_clear_error() -> None:
    settings = Settings.model_validate({"database": {"url": "postgresql://lm@127.0.0.1:1/none"}})
    with pytest.raises(StartupError, match="ingest: ") as raised:
        async with library._database(settings) as database:
            await library._read(database, uuid4(), uuid4())
    assert raised.value.remedy == "the same command goes on when the database answers"

"""What a process may know of ours that touches files of strangers."""

import sys

import pytest

from little_monster.platform.clean_environment import clean_environment


def test_no_secret_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_AUTH__SECRET", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    known = clean_environment()
    assert "secret" not in known.values()
    assert not [name for name in known if name.startswith(("LM_", "AWS_"))]


def test_what_is_named_is_known_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("HF_HOME", raising=False)
    assert "TZ" not in clean_environment()
    known = clean_environment("TZ", "HF_HOME")
    assert known["TZ"] == "UTC"
    assert "HF_HOME" not in known


def test_modules_are_found_but_not_where_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/somewhere"])
    known = clean_environment()
    assert (known["PYTHONPATH"], known["PYTHONSAFEPATH"]) == ("/somewhere", "1")

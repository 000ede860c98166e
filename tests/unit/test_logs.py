import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from little_monster.platform.logs import REDACTED, redact_text, setup_logs
from little_monster.platform.settings import TelemetrySettings


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(), stream)
    yield stream
    setup_logs(TelemetrySettings())


def test_fields_with_secret_names_are_redacted(log: io.StringIO) -> None:
    structlog.get_logger().info(
        "event",
        password="p4ss",
        Authorization="Bearer abc",
        api_key="k",
        nested={"refresh_token": "r"},
        email="a",
    )
    line = json.loads(log.getvalue())
    assert [line[name] for name in ("password", "Authorization", "api_key", "email")] == [REDACTED] * 4
    assert line["nested"] == {"refresh_token": REDACTED}


def test_counts_of_tokens_are_kept(log: io.StringIO) -> None:
    structlog.get_logger().info("event", prompt_tokens=12, max_tokens=384)
    assert json.loads(log.getvalue())["prompt_tokens"] == 12


def test_exceptions_keep_their_place_and_lose_personal_data(log: io.StringIO) -> None:
    try:
        raise ValueError("Key (email)=(ada@example.com) exists, eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbg")
    except ValueError:
        structlog.get_logger().exception("failed")
    text = log.getvalue()
    assert "test_logs.py" in text
    assert "ada@example.com" not in text
    assert "eyJhbGci" not in text


def test_logs_of_libraries_are_redacted_too(log: io.StringIO) -> None:
    logging.getLogger("some.library").warning("cannot reach %s", "postgresql://lm:hunter2@db.example.com/lm")
    line = json.loads(log.getvalue())
    assert line["logger"] == "some.library"
    assert "hunter2" not in log.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail to ada.l+x@uni.example.org now", f"mail to {REDACTED} now"),
        ("from o'brien!secret#name@example.org", f"from {REDACTED}"),
        ("by a$%&*/=?^_`{|}~.b@example.org now", f"by {REDACTED} now"),
        (f"token lmp_{'aB3-_' * 8}abc.", f"token {REDACTED}."),
        ("lmp_ is how they begin", "lmp_ is how they begin"),
        ("redis://:pw@host/0", "redis://:[redacted]@host/0"),
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("header Bearer abcdefghij", f"header {REDACTED}"),
        ("nothing here", "nothing here"),
        ("a @ b", "a @ b"),
    ],
)
def test_redact_text(text: str, expected: str) -> None:
    assert redact_text(text) == expected


@pytest.mark.timeout(60)
def test_redaction_reads_a_long_text_once() -> None:
    """A pattern that began again at each letter would take hours; the limit ends the test."""
    text = "a" * 1_000_000 + " @ "
    assert redact_text(text) == text

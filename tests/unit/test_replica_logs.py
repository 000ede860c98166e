"""Lines of a replica's log beside Serve's own records."""

import json
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest
import structlog
from ray.serve._private.constants import SERVE_LOGGER_NAME

from little_monster.deployments.replica_logs import ReplicaLog, setup_replica_logs
from little_monster.platform.logs import setup_logs
from little_monster.platform.settings import TelemetrySettings


def test_lines_stand_beside_records_as_they_are(tmp_path: Path) -> None:
    handler = RotatingFileHandler(tmp_path / "log", maxBytes=10_000)
    log = ReplicaLog(handler)
    log.write('{"event": "request"}\n')
    handler.handle(logging.makeLogRecord({"msg": "a record"}))
    log.write("ä\n")
    assert (tmp_path / "log").read_text() == '{"event": "request"}\na record\nä\n'


def test_a_full_file_is_rotated(tmp_path: Path) -> None:
    log = ReplicaLog(RotatingFileHandler(tmp_path / "log", maxBytes=100, backupCount=1))
    for number in range(20):
        log.write(f"line {number:03}\n")
    kept = (tmp_path / "log.1").read_text() + (tmp_path / "log").read_text()
    assert kept.endswith("line 019\n")
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 100


def test_a_replica_writes_into_serves_file(tmp_path: Path, restored_logs: None) -> None:
    serve = logging.getLogger(SERVE_LOGGER_NAME)
    handler = RotatingFileHandler(tmp_path / "log")
    serve.addHandler(handler)
    try:
        setup_replica_logs(TelemetrySettings(log_format="json"))
        structlog.get_logger().info("worker_ready", concurrency=2)
    finally:
        serve.removeHandler(handler)
    line = json.loads((tmp_path / "log").read_text())
    assert (line["event"], line["concurrency"]) == ("worker_ready", 2)


@pytest.fixture
def restored_logs() -> Iterator[None]:
    yield
    setup_logs(TelemetrySettings())

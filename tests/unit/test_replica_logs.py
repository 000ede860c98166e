"""Lines of a replica's log beside Serve's own records."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from little_monster.deployments.replica_logs import ReplicaLog


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

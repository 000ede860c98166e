"""Children, what is left of a stack, restarts."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from little_monster.platform.embedded.instance import (
    DataFolderLock,
    Instance,
    forget_instance,
    marked_processes,
    read_instance,
    stop_marked,
)
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.machine import check_machine
from little_monster.platform.embedded.ports import Ports, free_port
from little_monster.platform.embedded.process import Stopped, Waiter, last_line, spawn
from little_monster.platform.errors import StartupError
from little_monster.platform.settings import RuntimeSettings

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP[2],
]


def marked(identity: str) -> dict[str, str]:
    return {**os.environ, "LM_INSTANCE": identity}


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    folder = DataFolder.at(tmp_path)
    folder.prepare()
    return folder


def test_a_child_that_dies_says_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"]
    child = spawn("part", command, environment=os.environ, log=tmp_path / "log")
    with pytest.raises(StartupError, match="no such luck") as raised:
        Waiter().until(lambda: False, child, timeout_s=10)
    assert raised.value.stage == "part"


def test_waiting_ends_with_the_operators_patience(tmp_path: Path) -> None:
    child = spawn("part", SLEEP, environment=os.environ, log=tmp_path / "log")
    waiter = Waiter()
    threading.Timer(0.1, waiter.stopping.set).start()
    with pytest.raises(Stopped):
        waiter.until(lambda: False, child, timeout_s=30)
    child.stop(5)
    assert not child.running()


def test_a_deaf_child_is_killed(tmp_path: Path) -> None:
    child = spawn("part", DEAF, environment=os.environ, log=tmp_path / "log")
    Waiter().until(lambda: last_line(tmp_path / "log") == "up", child, timeout_s=10)
    child.stop(0.3)
    assert not child.running()


def test_only_what_carries_the_mark_is_stopped(tmp_path: Path) -> None:
    ours = [
        spawn("a", SLEEP, environment=marked("h3-one"), log=tmp_path / "a"),
        spawn("b", DEAF, environment=marked("h3-one"), log=tmp_path / "b"),
    ]
    other = spawn("c", SLEEP, environment=marked("h3-two"), log=tmp_path / "c")
    kept = spawn("d", SLEEP, environment=marked("h3-one"), log=tmp_path / "d")
    try:
        Waiter().until(lambda: last_line(tmp_path / "b") == "up", ours[1], timeout_s=10)
        assert stop_marked("h3-one", grace_s=0.5, keep=[kept.pid]) == 2
        assert not any(child.running() for child in ours)
        assert other.running()
        assert kept.running()
    finally:
        for child in (*ours, other, kept):
            child.stop(1)


def test_what_a_marked_process_started_is_found_too(tmp_path: Path) -> None:
    inner = f"import os, subprocess; os.environ.pop('LM_INSTANCE'); subprocess.run({SLEEP!r})"
    outer = spawn("a", [sys.executable, "-c", inner], environment=marked("h3-nest"), log=tmp_path / "a")
    Waiter().until(lambda: last_line(tmp_path / "a") == "up", outer, timeout_s=10)
    assert len(marked_processes("h3-nest")) == 2
    assert stop_marked("h3-nest") == 2
    outer.stop(1)


def test_a_reused_process_id_is_not_taken_for_the_supervisor(data: DataFolder) -> None:
    instance = Instance.new("id", {})
    instance.save(data)
    assert read_instance(data) == instance
    supervisor = instance.supervisor()
    assert supervisor is not None
    assert supervisor.pid == os.getpid()
    instance.created -= 100
    assert instance.supervisor() is None
    forget_instance(data)
    assert read_instance(data) is None


def test_a_torn_state_file_is_none(data: DataFolder) -> None:
    (data.run / "instance.json").write_text('{"id": ')
    assert read_instance(data) is None


def test_a_data_folder_has_one_holder_even_when_that_is_killed(data: DataFolder) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from little_monster.platform.embedded.instance import DataFolderLock;"
        "from little_monster.platform.embedded.layout import DataFolder;"
        f"lock = DataFolderLock(DataFolder.at(Path({str(data.root)!r})));"
        "print(lock.take(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        assert not DataFolderLock(data).take()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    lock = DataFolderLock(data)
    assert lock.take()
    lock.release()


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        ports = Ports.of(RuntimeSettings(http_port=port, dashboard_port=free_port(), gcs_port=free_port()))
        with pytest.raises(StartupError) as raised:
            check_machine(tmp_path, ports)
    assert f"{port} (HTTP API)" in raised.value.reason
    assert "LM_RUNTIME__PORT_OFFSET" in raised.value.remedy


def test_too_little_memory_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = psutil.virtual_memory()._replace(available=2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: small)
    with pytest.raises(StartupError, match=r"1\.0 GiB of memory are free"):
        check_machine(tmp_path, Ports.of(RuntimeSettings()))

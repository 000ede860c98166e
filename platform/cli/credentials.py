"""The tokens of the accounts that the command line is logged in to, in a file for their owner only."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from little_monster.platform.embedded.layout import write_private

_EARLY_S = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A log-in; `expires_at` is the end of the access token in seconds since 1970."""

    email: str
    access_token: str
    refresh_token: str
    expires_at: float

    @classmethod
    def of(cls, email: str, body: dict[str, Any]) -> "Credentials":
        """Read what register, login and refresh-token answer."""
        tokens = body.get("tokens", body)
        expires_at = time.time() + float(tokens["expires_in"])
        return cls(email, tokens["access_token"], tokens["refresh_token"], expires_at)

    def fresh(self) -> bool:
        """Say whether the access token lives a little longer."""
        return time.time() < self.expires_at - _EARLY_S


class Keeper(Protocol):
    """Keeps the credentials of one account."""

    def load(self) -> Credentials | None: ...

    def save(self, credentials: Credentials | None) -> None: ...

    @contextmanager
    def locked(self) -> Iterator[None]: ...


class MemoryKeeper:
    """Forgets them with the process."""

    def __init__(self) -> None:
        self._credentials: Credentials | None = None

    def load(self) -> Credentials | None:
        """Return them."""
        return self._credentials

    def save(self, credentials: Credentials | None) -> None:
        """Keep them."""
        self._credentials = credentials

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: no other process sees them."""
        yield


class FileKeeper:
    """Keeps one account for each API in `credentials.json` of the user's configuration folder.

    Args:
        url: of the API.
        path: another file.
    """

    def __init__(self, url: str, path: Path | None = None) -> None:
        self._url = url
        self._path = path or Path(typer.get_app_dir("little-monster")) / "credentials.json"

    def load(self) -> Credentials | None:
        """Return the account of this API; None when there is none."""
        found = self._all().get(self._url)
        return Credentials(**found) if found else None

    def save(self, credentials: Credentials | None) -> None:
        """Keep the account, or with None forget it."""
        accounts = self._all()
        accounts.pop(self._url, None)
        if credentials is not None:
            accounts[self._url] = asdict(credentials)
        write_private(self._path, json.dumps(accounts, indent=2))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from refreshing: a refresh token that is used twice ends the log-in."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _all(self) -> dict[str, dict[str, Any]]:
        try:
            accounts: dict[str, dict[str, Any]] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return accounts

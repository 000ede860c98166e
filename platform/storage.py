"""Uploaded files and exports, in a local folder or an S3-compatible bucket.

A key is `{user_id}/{document_id}/original`, or `{user_id}/exports/{job_id}.zip`.
"""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from little_monster.platform.errors import ConfigurationError, NotFound, StorageFull, Unavailable

PART_BYTES = 5 * 2**20
"""Size of a part of an upload; the smallest that S3 accepts."""

_FULL = "The file storage is full: whoever runs this has to make room there; then try again."


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and when it was written."""

    key: str
    modified: datetime


class FileStorage:
    """Files by key. Keys are relative paths without `..`; a key holds a whole file or nothing.

    Args:
        store: an obstore store (`LocalStore`, `S3Store`, `MemoryStore`).
        description: where the files are, without secrets, for logs and errors.
    """

    def __init__(self, store: Any, description: str) -> None:
        self._store = store
        self.description = description

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store what `chunks` yields under `key`, a part at a time, and return its length in bytes.

        The key appears only when the last chunk is written. When `chunks` raises, or the caller is cancelled,
        the parts are removed and that same error is raised.

        Raises:
            StorageFull: there is no room for it; its parts are removed.
            Unavailable: the storage does not answer.
        """
        feed = _Feed(chunks)
        upload = asyncio.ensure_future(self._upload(key, feed))
        try:
            await asyncio.shield(upload)
        except asyncio.CancelledError:
            # A cancelled upload leaves its parts behind, one whose source fails removes them: make it fail.
            feed.abort()
            with suppress(Exception):
                await upload
            raise
        except Exception as error:
            if feed.error is not None:
                raise feed.error from None
            raise self._unavailable(error) from error
        return feed.length

    async def _upload(self, key: str, feed: "_Feed") -> None:
        await obstore.put_async(self._store, key, feed, chunk_size=PART_BYTES, max_concurrency=4)

    async def get(self, key: str) -> bytes:
        """Return the whole file.

        Raises:
            NotFound: there is none under this key.
            Unavailable: the storage does not answer.
        """
        return b"".join([part async for part in self.stream(key)])

    async def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the file, or its bytes from `start` until before `end`, in parts of up to 5 MiB. Raises as
        `get`."""
        options = {"range": {"offset": start} if end is None else (start, end)}
        try:
            result = await obstore.get_async(self._store, key, options=options if start or end else None)
            async for part in result.stream(min_chunk_size=PART_BYTES):
                yield bytes(part)
        except FileNotFoundError:
            raise NotFound("This file is no longer there.", code="file_not_found") from None
        except BaseError as error:
            raise self._unavailable(error) from error

    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Return what `stream` yields when its first part is there: a missing file is told now. Raises as
        `get`."""
        parts = self.stream(key, start=start, end=end)
        return _joined(await anext(parts, b""), parts)

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix`, a folder name or nothing, a page at a time. Raises as `check`."""
        try:
            async for found in obstore.list(self._store, prefix=f"{prefix.rstrip('/')}/" if prefix else None):
                for entry in found:
                    yield entry["path"]
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def download(self, key: str, path: Path) -> None:
        """Write the file to `path`. Raises as `get`."""
        with path.open("wb") as file:
            async for part in self.stream(key):
                await asyncio.to_thread(file.write, part)

    async def delete(self, key: str) -> None:
        """Remove a file; a missing one is fine."""
        with suppress(FileNotFoundError):
            await self._run(obstore.delete_async(self._store, key))

    async def exists(self, key: str) -> bool:
        """Say whether there is a file under this key."""
        try:
            await self._run(obstore.head_async(self._store, key))
        except FileNotFoundError:
            return False
        return True

    async def list(self) -> AsyncIterator[list[StoredFile]]:
        """Yield all files, in no order, some hundreds at a time.

        Raises:
            Unavailable: the storage does not answer.
        """
        try:
            async for found in obstore.list(self._store):
                yield [StoredFile(entry["path"], entry["last_modified"]) for entry in found]
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def delete_prefix(self, prefix: str) -> None:
        """Remove every file below `prefix`, a whole folder name such as `{user_id}/{document_id}`."""
        try:
            async for found in obstore.list(self._store, prefix=prefix.rstrip("/") + "/"):
                keys = [entry["path"] for entry in found]
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, keys)
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def check(self) -> None:
        """Return when the storage can be written and read; raise `Unavailable` when not."""
        key = ".check"
        await self._run(obstore.put_async(self._store, key, b"ok"))
        await self._run(obstore.head_async(self._store, key))

    async def _run(self, call: Any) -> Any:
        try:
            return await call
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        failure: Unavailable
        if is_full(error):
            failure = StorageFull(_FULL, retry_after_s=60)
        else:
            failure = Unavailable(
                "The file storage does not answer.", code="storage_unavailable", retry_after_s=5
            )
        failure.add_note(f"{self.description}: {type(error).__name__}: {error}")
        return failure


def is_full(error: Exception) -> bool:
    """Say whether it means that a disk is full, or the share of it that may be used."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # obstore has one class for many errors; its text has Rust's name of the kind, or the code of the bucket.
    return any(kind in str(error) for kind in ("StorageFull", "QuotaExceeded"))


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


class _Chunks(Protocol):
    def __anext__(self) -> Any: ...


class _Feed:
    """Hands chunks to obstore, counts them, remembers the error of their source and can be made to fail."""

    def __init__(self, chunks: _Chunks) -> None:
        self._chunks = chunks
        self._next: asyncio.Future[bytes] | None = None
        self._aborted = False
        self.error: BaseException | None = None
        self.length = 0

    def __aiter__(self) -> "_Feed":
        return self

    async def __anext__(self) -> bytes:
        if self._aborted:
            raise InterruptedError("the upload was cancelled")
        self._next = asyncio.ensure_future(self._chunks.__anext__())
        try:
            chunk = await self._next
        except StopAsyncIteration:
            raise
        except asyncio.CancelledError:
            raise InterruptedError("the upload was cancelled") from None
        except BaseException as error:
            self.error = error
            raise
        self.length += len(chunk)
        return chunk

    def abort(self) -> None:
        """Make the next, or the waiting, `__anext__` fail."""
        self._aborted = True
        if self._next is not None:
            self._next.cancel()


def open_storage(url: str) -> FileStorage:
    """Return the storage at `file:///folder` (made when missing) or `s3://bucket/prefix` (AWS_* variables).

    Raises:
        ConfigurationError: the URL names neither, or cannot be used.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme == "file" and not parts.netloc and len(parts.path) > 1:
            folder = Path(unquote(parts.path))
            return FileStorage(LocalStore(folder, automatic_cleanup=True, mkdir=True), str(folder))
        if parts.scheme == "s3" and parts.netloc:
            return FileStorage(_s3(parts.netloc, parts.path.strip("/")), f"s3://{parts.netloc}{parts.path}")
    except (BaseError, OSError) as error:
        raise ConfigurationError(f"LM_STORAGE__URL: {error}".splitlines()[0]) from None
    raise ConfigurationError("LM_STORAGE__URL: must be file:///folder or s3://bucket/prefix")


def _s3(bucket: str, prefix: str) -> S3Store:
    return S3Store(bucket, prefix=prefix or None, client_options={"allow_http": True})

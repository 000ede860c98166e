"""Where the files of a library are: a folder, a bucket, or a manifest that lists them.

A manifest is a text with a path a line, CSV with a column `path`, or JSON Lines with a field `path` (both may
have `title` and `subject` too), by its suffix. Paths in it are relative to its own folder, or URIs. All is
read as it is needed: neither a folder nor a manifest is ever held whole.
"""

import asyncio
import codecs
import csv
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from little_monster.pipelines.stages.columns import File
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.storage import PART_BYTES, FileStorage, open_storage

S3 = "s3://"


def list_files(source: str, *, manifest: bool = False) -> Iterator[File]:
    """Yield the files of a source, always in the same order.

    Raises:
        ConfigurationError: there is no such source, or a folder or a line of the manifest cannot be read.
        Unavailable: the bucket does not answer.
    """
    if manifest:
        yield from _listed(source)
    elif source.startswith(S3):
        yield from _in_bucket(source)
    else:
        yield from _in_folder(Path(source))


def name_of(uri: str) -> str:
    """Return the file name at the end of a URI or path."""
    return uri.rstrip("/").rpartition("/")[2]


async def read_parts(uri: str) -> AsyncIterator[bytes]:
    """Yield a file in parts of a few MiB.

    Raises:
        FileNotFoundError, OSError: it cannot be read.
        NotFound: the bucket has no such file. Unavailable: the bucket does not answer.
        ConfigurationError: the URI names no bucket.
    """
    if uri.startswith(S3):
        storage, key = _bucket_of(uri)
        async for part in storage.stream(key):
            yield part
        return
    file = await asyncio.to_thread(Path(uri).open, "rb")
    with file:
        while part := await asyncio.to_thread(file.read, PART_BYTES):
            yield part


def _in_folder(path: Path, above: frozenset[Path] = frozenset()) -> Iterator[File]:
    if path.is_file():
        yield _file(str(path))
        return
    if not path.is_dir():
        raise ConfigurationError(f"{path}: there is no such file or folder")
    here = path.resolve()
    if here in above:
        # A link that leads back.
        return
    try:
        items = sorted(path.iterdir())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    for item in items:
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _in_folder(item, above | {here})
        elif item.is_file():
            yield _file(str(item))


def _in_bucket(source: str) -> Iterator[File]:
    storage, prefix = _bucket_of(source)
    bucket, keys = source.removeprefix(S3).partition("/")[0], storage.keys(prefix)
    with asyncio.Runner() as runner:
        while (key := runner.run(_next(keys))) is not None:
            yield _file(f"{S3}{bucket}/{key}")


def _bucket_of(uri: str) -> tuple[FileStorage, str]:
    """Return the bucket that a URI names, and the key or prefix in it."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if not bucket:
        raise ConfigurationError(f"{uri}: names no bucket")
    return open_storage(f"{S3}{bucket}"), key


async def _next(keys: AsyncIterator[str]) -> str | None:
    return await anext(keys, None)


def _listed(source: str) -> Iterator[File]:
    for number, entry in enumerate(_entries(source), start=1):
        path = entry.get("path")
        if not path or not isinstance(path, str):
            raise ConfigurationError(f"{source}: entry {number} has no path")
        yield _file(_absolute(source, path), _text(entry.get("title")), _text(entry.get("subject")))


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _entries(source: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a manifest as fields."""
    lines = _lines(source)
    suffix = Path(source).suffix.lower()
    if suffix == ".csv":
        try:
            yield from csv.DictReader(lines)
        except csv.Error as error:
            raise ConfigurationError(f"{source}: {error}") from None
        return
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        yield _object(source, number, text) if suffix in (".jsonl", ".ndjson") else {"path": text}


def _object(source: str, number: int, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{source}: line {number} is no JSON object")
    return value


def _lines(source: str) -> Iterator[str]:
    try:
        if source.startswith(S3):
            yield from _remote_lines(source)
            return
        with Path(source).open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source}: {error}") from None


def _remote_lines(source: str) -> Iterator[str]:
    rest, parts, decoder = "", read_parts(source), codecs.getincrementaldecoder("utf-8-sig")()
    with asyncio.Runner() as runner:
        while part := runner.run(_next_part(parts)):
            *whole, rest = (rest + decoder.decode(part)).split("\n")
            yield from whole
    yield rest + decoder.decode(b"", final=True)


async def _next_part(parts: AsyncIterator[bytes]) -> bytes:
    return await anext(parts, b"")


def _absolute(manifest: str, path: str) -> str:
    if path.startswith((S3, "/")):
        return path
    folder, slash, _ = manifest.rpartition("/")
    return f"{folder}{slash}{path}"


def _file(uri: str, title: str | None = None, subject: str | None = None) -> File:
    return File(uri=uri, title=title, subject=subject)

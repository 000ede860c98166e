"""`platform/storage.py` on a local folder: whole files or nothing."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from little_monster.platform.errors import ConfigurationError, NotFound, StorageFull, TooLarge
from little_monster.platform.storage import FileStorage, is_full, open_storage
from tests.fixtures.disks import small_disk

MEGABYTE = 2**20


async def chunks(*parts: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if error:
        raise error


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return open_storage(f"file://{tmp_path}/files%20here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files here"


async def test_what_is_put_is_read_back(storage: FileStorage, folder: Path, tmp_path: Path) -> None:
    body = [bytes([i]) * MEGABYTE for i in range(12)]
    assert await storage.put("u/d/original", chunks(*body)) == 12 * MEGABYTE
    assert files(folder) == ["u/d/original"]
    assert await storage.get("u/d/original") == b"".join(body)
    await storage.download("u/d/original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"".join(body)


async def test_an_empty_file_is_a_file(storage: FileStorage) -> None:
    assert await storage.put("u/d/empty", chunks()) == 0
    assert await storage.get("u/d/empty") == b""


@pytest.mark.parametrize("megabytes", [0, 1, 12])
async def test_a_failing_source_leaves_nothing_and_its_own_error(
    storage: FileStorage, folder: Path, megabytes: int
) -> None:
    refused = TooLarge("too large")
    with pytest.raises(TooLarge) as raised:
        await storage.put("u/d/original", chunks(*[b"x" * MEGABYTE] * megabytes, error=refused))
    assert raised.value is refused
    assert files(folder) == []


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as folder:
        storage = open_storage(f"file://{folder}")
        await storage.put("u/d/first", chunks(b"x" * 1000))
        with pytest.raises(StorageFull) as raised:
            await storage.put("u/d/original", chunks(*[b"x" * MEGABYTE] * 7))
        assert (raised.value.status, raised.value.retry_after_s) == (507, 60)
        assert "make room" in raised.value.detail
        assert files(folder) == ["u/d/first"]
        assert await storage.put("u/d/second", chunks(b"x" * 1000)) == 1000


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (GenericError("Generic LocalFileSystem error\n\nkind: StorageFull,"), True),
        (GenericError("Generic S3 error: <Code>XMinioStorageFull</Code>"), True),
        (GenericError("Generic S3 error: connection refused"), False),
    ],
)
def test_errors_of_a_full_disk(error: Exception, full: bool) -> None:
    assert is_full(error) is full


async def test_a_failing_source_leaves_the_file_that_was_there(storage: FileStorage) -> None:
    await storage.put("u/d/original", chunks(b"first"))
    with pytest.raises(TooLarge):
        await storage.put("u/d/original", chunks(b"x" * 7 * MEGABYTE, error=TooLarge("too large")))
    assert await storage.get("u/d/original") == b"first"


async def test_a_cancelled_upload_leaves_nothing(storage: FileStorage, folder: Path) -> None:
    waiting = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b"x" * 7 * MEGABYTE
        waiting.set()
        await asyncio.sleep(60)
        yield b"never"

    upload = asyncio.create_task(storage.put("u/d/original", stalls()))
    await waiting.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert files(folder) == []


async def test_deleting_twice_is_fine_and_a_missing_file_is_not_found(
    storage: FileStorage, folder: Path
) -> None:
    await storage.put("u/d/original", chunks(b"text"))
    await storage.delete("u/d/original")
    await storage.delete("u/d/original")
    with pytest.raises(NotFound):
        await storage.get("u/d/original")
    assert not (folder / "u").exists()


async def test_a_prefix_is_a_whole_folder_name(storage: FileStorage) -> None:
    for key in ("u/d/original", "u/d/page/1", "u/d2/original"):
        await storage.put(key, chunks(b"text"))
    await storage.delete_prefix("u/d")
    await storage.delete_prefix("u/never")
    assert await storage.get("u/d2/original") == b"text"
    with pytest.raises(NotFound):
        await storage.get("u/d/page/1")


async def test_check_passes_where_it_can_write(storage: FileStorage) -> None:
    await storage.check()


@pytest.mark.parametrize(
    "url", ["", "files", "file://", "ftp://host/folder", "s3://", "file://relative/folder"]
)
def test_another_url_is_refused_by_the_name_of_its_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^LM_STORAGE__URL: "):
        open_storage(url)


def test_a_bucket_is_named_without_secrets() -> None:
    assert open_storage("s3://bucket/some/prefix").description == "s3://bucket/some/prefix"

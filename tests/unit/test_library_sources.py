"""Where the files of a library are found: folders, manifests of each kind, buckets; never all at once."""

import asyncio
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from little_monster.pipelines.library import sources
from little_monster.pipelines.library.intake import title_of
from little_monster.pipelines.library.sources import list_files, read_parts
from little_monster.pipelines.stages.columns import File
from little_monster.platform.errors import ConfigurationError, NotFound
from little_monster.platform.storage import FileStorage


def uris(source: Path | str, *, manifest: bool = False) -> list[str]:
    return [file["uri"] for file in list_files(str(source), manifest=manifest)]


def test_a_folder_is_searched_in_a_steady_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.txt", "a/c.md", "a/.git/d.md", ".e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert uris(tmp_path) == [str(tmp_path / "a/c.md"), str(tmp_path / "b.txt")]
    assert uris(tmp_path / "b.txt") == [str(tmp_path / "b.txt")]
    with pytest.raises(ConfigurationError, match="no such file"):
        uris(tmp_path / "missing")


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.txt").touch()
    (tmp_path / "a/back").symlink_to(tmp_path)
    assert uris(tmp_path) == [str(tmp_path / "a/b.txt")]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigurationError, match=f"{tmp_path}: Permission denied"):
        uris(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.txt", "# all\none.pdf\n\n/two.md\ns3://bucket/three.txt\n"),
        ("m.csv", "title,path\nOne,one.pdf\n,/two.md\n,s3://bucket/three.txt\n"),
        (
            "m.jsonl",
            '{"path": "one.pdf", "title": "One"}\n{"path": "/two.md"}\n{"path": "s3://bucket/three.txt"}',
        ),
    ],
)
def test_a_manifest_names_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = [*list_files(str(tmp_path / name), manifest=True)]
    assert [file["uri"] for file in found] == [f"{tmp_path}/one.pdf", "/two.md", "s3://bucket/three.txt"]
    assert found[0]["title"] == (None if name == "m.txt" else "One")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "file\nx\n"),
        ("m.csv", f"path\n{'x' * 200_000}\n"),
        ("m.jsonl", "[1]\n"),
        ("m.jsonl", '{"path": 3}\n'),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=name):
        uris(tmp_path / name, manifest=True)


def test_a_title_may_be_a_number(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "/a.pdf", "title": 1984, "subject": ""}\n')
    (file,) = list_files(str(tmp_path / "m.jsonl"), manifest=True)
    assert (file["title"], file["subject"]) == ("1984", None)


def test_a_manifest_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with path.open("w") as file:
        file.writelines(f'{{"path": "/library/{number}.pdf"}}\n' for number in range(20_000))
    tracemalloc.start()
    files: Iterator[File] = list_files(str(path), manifest=True)
    count = sum(1 for _ in islice(files, 20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (count, next(files, None)) == (20_000, None)
    assert peak < 2**18


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    monkeypatch.setattr(sources, "open_storage", lambda url: FileStorage(store, url))
    return store


async def test_a_bucket_is_listed_by_prefix_and_read(bucket: MemoryStore) -> None:
    for key in ("books/a.md", "books/more/b.md", "bookshop/c.md"):
        bucket.put(key, key.encode())
    found = await asyncio.to_thread(lambda: uris("s3://library/books"))
    assert sorted(found) == ["s3://library/books/a.md", "s3://library/books/more/b.md"]
    assert b"".join([part async for part in read_parts(found[0])]) == b"books/a.md"
    with pytest.raises(NotFound):
        _ = [part async for part in read_parts("s3://library/books/missing.md")]


async def test_a_manifest_may_be_in_a_bucket(bucket: MemoryStore) -> None:
    bucket.put("lists/m.txt", b"one.pdf\ntwo.pdf")
    found = await asyncio.to_thread(lambda: uris("s3://library/lists/m.txt", manifest=True))
    assert found == ["s3://library/lists/one.pdf", "s3://library/lists/two.pdf"]


async def test_a_manifest_in_a_bucket_is_utf8_with_or_without_a_mark(bucket: MemoryStore) -> None:
    bucket.put("m.csv", "path\nüber.pdf\n".encode("utf-8-sig"))
    assert await asyncio.to_thread(lambda: uris("s3://b/m.csv", manifest=True)) == ["s3://b/über.pdf"]
    bucket.put("m.txt", "über.pdf".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"m\.txt: .*utf-8"):
        await asyncio.to_thread(lambda: uris("s3://b/m.txt", manifest=True))


async def test_a_uri_without_a_bucket_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="s3:///a: names no bucket"):
        uris("s3:///a")
    with pytest.raises(ConfigurationError, match="s3:///a: names no bucket"):
        _ = [part async for part in read_parts("s3:///a")]


@pytest.mark.parametrize(
    ("uri", "title", "called"),
    [
        ("/books/Cell biology.pdf", None, "Cell biology"),
        ("/books/a.pdf", " A  book ", "A book"),
        ("s3://b/.pdf", None, ".pdf"),
        ("/" + "x" * 300 + ".pdf", None, "x" * 200),
    ],
)
def test_a_document_is_called_as_the_manifest_or_the_file_says(
    uri: str, title: str | None, called: str
) -> None:
    assert title_of(File(uri=uri, title=title, subject=None)) == called

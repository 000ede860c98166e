"""The index as operators see it: filled with a whole library, compared, made anew while it is searched."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.fixtures import documents
from tests.serve.api import eventually, finished, read, upload
from tests.serve.conftest import RunningStack

# The stack is started with HAProxy first; none of this depends on the way HTTP enters.
FIRST = "haproxy"
SEARCH = "/api/v1/documents/search"
QUESTION = {"query": "Which organ makes energy for the cell?", "limit": 3}


@pytest.fixture(autouse=True)
def once(stack: RunningStack) -> None:
    if stack.data_path != FIRST:
        pytest.skip("the index does not see which way HTTP enters")


@contextmanager
def searching(client: httpx.Client) -> Iterator[list[tuple[int, list[str]]]]:
    """Search all the time; collect statuses and what was found."""
    seen: list[tuple[int, list[str]]] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            answer = client.post(SEARCH, json=QUESTION)
            seen.append((answer.status_code, [one["chunk_id"] for one in answer.json().get("items", [])]))

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def agrees(admin: httpx.Client) -> bool:
    """Say whether PostgreSQL, index and storage have the same: neither more nor on its way."""
    answer = admin.post("/api/v1/admin/index/verifications", json={"repair": False})
    assert answer.status_code == 202, answer.text
    job = finished(admin, answer.headers["Location"])
    assert job["status"] == "completed", job
    found = job["result"]
    return found["drift"] == 0 and found["points"] == found["passages"]


def test_a_library_comes_in(stack: RunningStack, new_client, tmp_path: Path) -> None:
    files = {"cells.pdf": documents.pdf(), "cells.md": documents.MARKDOWN.encode(), "x.xyz": b"?"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with new_client() as client:
        owner = client.get("/api/v1/users/me").json()["email"]
        done = stack.cli("ingest", str(tmp_path), "--owner", owner, timeout=400)
        assert "2 read" in done.stdout, done.stdout + done.stderr
        assert "unsupported_file_type" in done.stdout
        assert done.returncode == 1, "a file that cannot be read is a failure"
        found = client.post(SEARCH, json=QUESTION).raise_for_status().json()["items"]
        assert found


def test_the_index_is_made_anew_while_it_is_searched(client: httpx.Client, admin: httpx.Client) -> None:
    read(client, "cells.pdf", documents.pdf())
    before = client.post(SEARCH, json=QUESTION).raise_for_status().json()["items"]
    with searching(client) as seen:
        for action in ("rebuild", "rollback", "drop_old"):
            answer = admin.post("/api/v1/admin/index/changes", json={"action": action})
            assert answer.status_code == 202, answer.text
            job = finished(admin, answer.headers["Location"])
            assert job["status"] == "completed", job
    assert len(seen) > 10
    assert {status for status, _ in seen} == {200}
    assert {tuple(found) for _, found in seen} == {tuple(one["chunk_id"] for one in before)}


def test_a_deletion_leaves_nothing_behind(client: httpx.Client, admin: httpx.Client) -> None:
    long = upload(client, "long.pdf", documents.pdf(repeat=800)).json()["document"]["id"]
    assert eventually(lambda: client.get(f"/api/v1/documents/{long}").json()["status"] == "processing", 60)
    assert client.delete(f"/api/v1/documents/{long}").status_code == 204, "while it is read"
    other, _ = read(client, "other.md", b"# Other\n\nThe heart pumps blood.")
    assert client.delete(f"/api/v1/documents/{other['id']}").status_code == 204
    assert eventually(lambda: agrees(admin), 60)

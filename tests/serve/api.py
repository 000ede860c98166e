"""What a client does over HTTP, in a line each."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SAMPLES = Path(__file__).parents[2] / "configs" / "samples"
READ_TIMEOUT_S = 180


def upload(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    """Upload one file."""
    return client.post("/api/v1/documents/upload", files={"file": (name, content)})


def finished(client: httpx.Client, job_url: str) -> dict[str, Any]:
    """Wait until a job has ended."""
    deadline = time.monotonic() + READ_TIMEOUT_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(job_url).raise_for_status().json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.3)
    raise AssertionError(f"still {job['status']} after {READ_TIMEOUT_S} s: {job}")


def read(client: httpx.Client, name: str, content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Upload a file and wait; return its document and its job as they ended."""
    answer = upload(client, name, content)
    assert answer.status_code == 202, answer.text
    job = finished(client, answer.headers["Location"])
    document = client.get(f"/api/v1/documents/{answer.json()['document']['id']}").raise_for_status().json()
    return document, job


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Say whether something comes to hold within this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.3)
    return False


def add_samples(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """Upload the bundled study texts side by side and return their documents by file name."""
    answers = {path.name: upload(client, path.name, path.read_bytes()) for path in sorted(SAMPLES.iterdir())}
    documents = {}
    for name, answer in answers.items():
        assert answer.status_code == 202, answer.text
        job = finished(client, answer.headers["Location"])
        assert job["status"] == "completed", job
        documents[name] = client.get(f"/api/v1/documents/{answer.json()['document']['id']}").json()
    return documents


@dataclass
class Event:
    """One server-sent event and when it came, in seconds since the request."""

    name: str
    data: dict[str, Any]
    at: float


@dataclass
class Answer:
    """A whole answer, as its events told it."""

    events: list[Event] = field(default_factory=list)

    def named(self, name: str) -> list[Event]:
        """Return the events of one name."""
        return [event for event in self.events if event.name == name]

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(event.data["text"] for event in self.named("delta"))


def ask(client: httpx.Client, question: str, **options: Any) -> Answer:
    """Start a conversation, ask, and read the stream to its end."""
    conversation = client.post("/api/v1/chat/conversations", json={}).raise_for_status().json()
    path = f"/api/v1/chat/conversations/{conversation['id']}/messages"
    with client.stream("POST", path, json={"content": question, **options}) as response:
        if response.is_error:
            response.read()
        response.raise_for_status()
        assert response.headers["content-type"].startswith("text/event-stream")
        return Answer(list(_events(response)))


def follow(client: httpx.Client, run: str, *, after: int = 0) -> list[Event]:
    """Return the events of a run behind number `after`, to its end."""
    with client.stream("GET", f"{run}/events", headers={"Last-Event-ID": str(after)}) as response:
        response.raise_for_status()
        return list(_events(response))


def _events(response: httpx.Response) -> Iterator[Event]:
    begun, name = time.monotonic(), ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            yield Event(name, json.loads(line.removeprefix("data:")), time.monotonic() - begun)

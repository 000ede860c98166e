"""A student's way: upload, wait, search, ask, follow the citations, delete."""

import secrets
from itertools import islice

import httpx
import pytest

from tests.serve.api import Answer, add_samples, ask, follow, read


@pytest.fixture(scope="module")
def library(client: httpx.Client) -> dict:
    """The bundled study texts, read."""
    return add_samples(client)


def test_every_bundled_text_is_read(library: dict) -> None:
    assert {name.rpartition(".")[2] for name in library} == {"pdf", "docx", "md", "txt"}
    for document in library.values():
        assert document["status"] == "completed"
        assert document["chunk_count"] > 0


def test_search_finds_the_passage_and_its_page(client: httpx.Client, library: dict) -> None:
    pdf = next(document for name, document in library.items() if name.endswith(".pdf"))
    query = {"query": "Where does the Calvin cycle take place?", "limit": 3}
    found = client.post("/api/v1/documents/search", json=query).raise_for_status().json()["items"]
    assert found[0]["document_id"] == pdf["id"]
    assert found[0]["page"] >= 1
    assert [hit["score"] for hit in found] == sorted((hit["score"] for hit in found), reverse=True)


def test_an_answer_streams_with_sources_and_citations_that_resolve(
    client: httpx.Client, library: dict
) -> None:
    answer = ask(client, "What is Newton's second law of motion?")
    names = [event.name for event in answer.events]
    assert names[-1] == "done", answer.events[-1]
    assert names.count("done") == 1
    assert names.index("sources") < names.index("delta") < names.index("done")
    assert len(answer.text) > 20
    deltas = answer.named("delta")
    assert deltas[0].at < deltas[-1].at - 0.1, "the answer came in one piece"
    sources = {source["number"]: source for source in answer.named("sources")[0].data["sources"]}
    assert answer.named("usage")[0].data["completion_tokens"] > 0
    for citation in (event.data for event in answer.named("citation")):
        source = sources[citation["number"]]
        assert citation["document_id"] == source["document_id"]
        assert citation["quote"] in source["content"]


def test_an_answer_goes_on_without_its_reader(client: httpx.Client, library: dict) -> None:
    """Serve cancels the request when the client goes; whoever comes back has the rest, and nothing twice."""
    conversation = client.post("/api/v1/chat/conversations", json={}).raise_for_status().json()
    path = f"/api/v1/chat/conversations/{conversation['id']}/messages"
    with client.stream("POST", path, json={"content": "What does the Calvin cycle make?"}) as response:
        run = response.headers["content-location"]
        seen = list(islice((line for line in response.iter_lines() if line.startswith("id:")), 4))
    last = int(seen[-1].removeprefix("id:"))
    events = Answer(follow(client, run, after=last))
    assert [event.name for event in events.events][-1] == "done"
    stored = client.get(f"/api/v1/chat/conversations/{conversation['id']}").json()["messages"][-1]
    whole = Answer(follow(client, run))
    assert (stored["status"], stored["content"]) == ("completed", whole.text)
    assert whole.text.endswith(events.text)
    assert len(whole.events) == len(events.events) + last


def test_a_stopped_answer_is_kept_as_far_as_it_came(client: httpx.Client, library: dict) -> None:
    conversation = client.post("/api/v1/chat/conversations", json={}).raise_for_status().json()
    path = f"/api/v1/chat/conversations/{conversation['id']}/messages"
    with client.stream("POST", path, json={"content": "Tell me all about plants."}) as response:
        run = response.headers["content-location"]
        next(line for line in response.iter_lines() if line == "event: delta")
        stopped = client.post(f"{run}/cancel").raise_for_status().json()
    assert stopped["status"] == "cancelled"
    stored = client.get(f"/api/v1/chat/conversations/{conversation['id']}").json()["messages"][-1]
    assert (stored["status"], stored["content"]) == ("interrupted", Answer(follow(client, run)).text)


def test_the_conversation_is_kept(client: httpx.Client, library: dict) -> None:
    answer = ask(client, "What do plants make in photosynthesis?")
    newest = client.get("/api/v1/chat/conversations", params={"limit": 1}).json()["items"][0]
    stored = client.get(f"/api/v1/chat/conversations/{newest['id']}").json()["messages"]
    assert {message["role"]: message["content"] for message in stored}["assistant"] == answer.text
    assert len(stored) == 2


def test_a_deleted_document_is_found_no_more(client: httpx.Client) -> None:
    secret = f"The zorblax {secrets.token_hex(8)} grows only on the moon of Quuxia."
    document, _ = read(client, "moon.txt", secret.encode())
    query = {"query": secret, "limit": 5}
    found = client.post("/api/v1/documents/search", json=query).json()["items"]
    assert found[0]["document_id"] == document["id"]
    assert client.delete(f"/api/v1/documents/{document['id']}").status_code == 204
    found = client.post("/api/v1/documents/search", json=query).json()["items"]
    assert document["id"] not in {hit["document_id"] for hit in found}
    assert client.get(f"/api/v1/documents/{document['id']}").status_code == 404

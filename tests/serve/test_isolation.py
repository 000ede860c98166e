"""Another user's things look like missing ones, through the whole graph."""

from collections.abc import Callable

import httpx

from tests.serve.api import ask, read

NOBODYS_ID = "00000000-0000-7000-8000-000000000000"
TEXT = "The password of the secret garden is xylophone seventeen."


def test_another_user_finds_and_reads_nothing(
    client: httpx.Client, new_client: Callable[[], httpx.Client]
) -> None:
    document, job = read(client, "garden.txt", TEXT.encode())
    ask(client, "What is the password of the secret garden?")
    conversation = client.get("/api/v1/chat/conversations").json()["items"][0]
    with new_client() as other:
        found = other.post("/api/v1/documents/search", json={"query": TEXT}).json()["items"]
        assert found == []
        for path in (
            f"/api/v1/documents/{document['id']}",
            f"/api/v1/documents/{document['id']}/chunks",
            f"/api/v1/jobs/{job['id']}",
            f"/api/v1/chat/conversations/{conversation['id']}",
        ):
            answer, missing = other.get(path), other.get(path.replace(_id_in(path), NOBODYS_ID))
            assert (answer.status_code, answer.json()["code"]) == (404, missing.json()["code"]), path
            assert answer.json()["detail"] == missing.json()["detail"], path
        assert other.delete(f"/api/v1/documents/{document['id']}").status_code == 404
        narrowed = {"query": TEXT, "document_ids": [document["id"]]}
        assert other.post("/api/v1/documents/search", json=narrowed).status_code == 404
    assert client.get(f"/api/v1/documents/{document['id']}").status_code == 200


def _id_in(path: str) -> str:
    return next(part for part in path.split("/") if len(part) == len(NOBODYS_ID))
